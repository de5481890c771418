//! The fields of API 2.3, type by type: <https://api.stackexchange.com/docs/types/question> and so
//! on. Whether a field is sent is up to the filter, and any may be absent from a row.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::streams::Kind;

/// What a field's values are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Int,
    Bool,
    /// Seconds since 1970.
    Time,
    /// What comes the same by every filter: HTML, addresses, and names that have nothing to encode.
    Text,
    /// What somebody wrote. Safe filters encode it for HTML.
    Prose,
    List(&'static Self),
    Object(&'static [Member]),
}

/// A field: its name and what it holds.
pub(crate) type Member = (&'static str, Type);

use Type::{Bool, Int, List, Object, Prose, Text, Time};

const TEXTS: Type = List(&Text);
const USER: Type = Object(&SHALLOW_USER);
const USERS: Type = List(&USER);
const COLLECTIVES: Type = List(&Object(&COLLECTIVE));
const COMMENTS: Type = List(&Object(&COMMENT));
const RECOMMENDATIONS: Type = List(&Object(&RECOMMENDATION));
const BADGES: Type = Object(&BADGE_COUNT);

/// `badge_count`
const BADGE_COUNT: [Member; 3] = [("gold", Int), ("silver", Int), ("bronze", Int)];

/// `shallow_user`. Only `user_type` is sure to be there: a deleted user has no id.
const SHALLOW_USER: [Member; 9] = [
    ("user_id", Int),
    ("user_type", Text),
    ("display_name", Prose),
    ("account_id", Int),
    ("reputation", Int),
    ("accept_rate", Int),
    ("badge_counts", BADGES),
    ("link", Text),
    ("profile_image", Text),
];

/// `collective`
const COLLECTIVE: [Member; 6] = [
    ("slug", Text),
    ("name", Prose),
    ("description", Prose),
    ("link", Text),
    ("tags", TEXTS),
    ("external_links", List(&Object(&EXTERNAL_LINK))),
];

/// `collective_external_link`
const EXTERNAL_LINK: [Member; 2] = [("type", Text), ("link", Text)];

/// `collective_membership`
const MEMBERSHIP: [Member; 2] = [("collective", Object(&COLLECTIVE)), ("role", Text)];

/// `closed_details`
const CLOSED_DETAILS: [Member; 5] = [
    ("reason", Prose),
    ("description", Text),
    ("on_hold", Bool),
    ("by_users", USERS),
    ("original_questions", List(&Object(&ORIGINAL_QUESTION))),
];

/// `original_question`
const ORIGINAL_QUESTION: [Member; 4] = [
    ("question_id", Int),
    ("title", Prose),
    ("answer_count", Int),
    ("accepted_answer_id", Int),
];

/// `notice`
const NOTICE: [Member; 3] = [
    ("body", Text),
    ("creation_date", Time),
    ("owner_user_id", Int),
];

/// `migration_info`
const MIGRATION: [Member; 3] = [
    ("question_id", Int),
    ("on_date", Time),
    ("other_site", Object(&SITE)),
];

/// `site`
const SITE: [Member; 18] = [
    ("api_site_parameter", Text),
    ("name", Prose),
    ("audience", Prose),
    ("site_url", Text),
    ("site_type", Text),
    ("site_state", Text),
    ("launch_date", Time),
    ("closed_beta_date", Time),
    ("open_beta_date", Time),
    ("aliases", TEXTS),
    ("markdown_extensions", TEXTS),
    ("twitter_account", Text),
    ("logo_url", Text),
    ("icon_url", Text),
    ("favicon_url", Text),
    ("high_resolution_icon_url", Text),
    ("styling", Object(&STYLING)),
    ("related_sites", List(&Object(&RELATED_SITE))),
];

/// `styling`
const STYLING: [Member; 3] = [
    ("link_color", Text),
    ("tag_foreground_color", Text),
    ("tag_background_color", Text),
];

/// `related_site`
const RELATED_SITE: [Member; 4] = [
    ("api_site_parameter", Text),
    ("name", Prose),
    ("relation", Text),
    ("site_url", Text),
];

/// `question`
const QUESTION: [Member; 51] = [
    ("question_id", Int),
    ("title", Prose),
    ("tags", TEXTS),
    ("owner", USER),
    ("score", Int),
    ("view_count", Int),
    ("answer_count", Int),
    ("is_answered", Bool),
    ("accepted_answer_id", Int),
    ("creation_date", Time),
    ("last_activity_date", Time),
    ("last_edit_date", Time),
    ("link", Text),
    ("content_license", Text),
    ("closed_date", Time),
    ("closed_reason", Prose),
    ("closed_details", Object(&CLOSED_DETAILS)),
    ("protected_date", Time),
    ("locked_date", Time),
    ("community_owned_date", Time),
    ("bounty_amount", Int),
    ("bounty_closes_date", Time),
    ("bounty_user", USER),
    ("migrated_from", Object(&MIGRATION)),
    ("migrated_to", Object(&MIGRATION)),
    ("notice", Object(&NOTICE)),
    ("collectives", COLLECTIVES),
    ("posted_by_collectives", COLLECTIVES),
    ("recommendations", RECOMMENDATIONS),
    ("body", Text),
    ("body_markdown", Prose),
    ("last_editor", USER),
    ("share_link", Text),
    ("up_vote_count", Int),
    ("down_vote_count", Int),
    ("favorite_count", Int),
    ("close_vote_count", Int),
    ("reopen_vote_count", Int),
    ("delete_vote_count", Int),
    ("comment_count", Int),
    ("comments", COMMENTS),
    ("answers", List(&Object(&ANSWER))),
    ("upvoted", Bool),
    ("downvoted", Bool),
    ("favorited", Bool),
    ("can_answer", Bool),
    ("can_close", Bool),
    ("can_comment", Bool),
    ("can_edit", Bool),
    ("can_flag", Bool),
    ("can_suggest_edit", Bool),
];

/// `collective_recommendation`
const RECOMMENDATION: [Member; 2] = [("collective", Object(&COLLECTIVE)), ("creation_date", Time)];

/// `answer`
const ANSWER: [Member; 34] = [
    ("answer_id", Int),
    ("question_id", Int),
    ("owner", USER),
    ("score", Int),
    ("is_accepted", Bool),
    ("creation_date", Time),
    ("last_activity_date", Time),
    ("last_edit_date", Time),
    ("content_license", Text),
    ("locked_date", Time),
    ("community_owned_date", Time),
    ("awarded_bounty_amount", Int),
    ("awarded_bounty_users", USERS),
    ("collectives", COLLECTIVES),
    ("posted_by_collectives", COLLECTIVES),
    ("recommendations", RECOMMENDATIONS),
    ("title", Prose),
    ("tags", TEXTS),
    ("link", Text),
    ("share_link", Text),
    ("body", Text),
    ("body_markdown", Prose),
    ("last_editor", USER),
    ("up_vote_count", Int),
    ("down_vote_count", Int),
    ("comment_count", Int),
    ("comments", COMMENTS),
    ("accepted", Bool),
    ("upvoted", Bool),
    ("downvoted", Bool),
    ("can_comment", Bool),
    ("can_edit", Bool),
    ("can_flag", Bool),
    ("can_suggest_edit", Bool),
];

/// `comment`
const COMMENT: [Member; 14] = [
    ("comment_id", Int),
    ("post_id", Int),
    ("post_type", Text),
    ("owner", USER),
    ("reply_to_user", USER),
    ("score", Int),
    ("edited", Bool),
    ("creation_date", Time),
    ("content_license", Text),
    ("link", Text),
    ("body", Text),
    ("body_markdown", Prose),
    ("upvoted", Bool),
    ("can_flag", Bool),
];

/// `tag`
const TAG: [Member; 9] = [
    ("name", Text),
    ("count", Int),
    ("has_synonyms", Bool),
    ("is_moderator_only", Bool),
    ("is_required", Bool),
    ("collectives", COLLECTIVES),
    ("synonyms", TEXTS),
    ("last_activity_date", Time),
    ("user_id", Int),
];

/// `user`
const FULL_USER: [Member; 29] = [
    ("user_id", Int),
    ("user_type", Text),
    ("display_name", Prose),
    ("account_id", Int),
    ("reputation", Int),
    ("reputation_change_day", Int),
    ("reputation_change_week", Int),
    ("reputation_change_month", Int),
    ("reputation_change_quarter", Int),
    ("reputation_change_year", Int),
    ("badge_counts", BADGES),
    ("accept_rate", Int),
    ("is_employee", Bool),
    ("creation_date", Time),
    ("last_modified_date", Time),
    ("last_access_date", Time),
    ("timed_penalty_date", Time),
    ("age", Int),
    ("location", Prose),
    ("website_url", Text),
    ("link", Text),
    ("profile_image", Text),
    ("collectives", List(&Object(&MEMBERSHIP))),
    ("about_me", Text),
    ("question_count", Int),
    ("answer_count", Int),
    ("up_vote_count", Int),
    ("down_vote_count", Int),
    ("view_count", Int),
];

/// The fields of a stream's rows.
pub(crate) fn of(kind: Kind) -> &'static [Member] {
    match kind {
        Kind::Questions => &QUESTION,
        Kind::Answers => &ANSWER,
        Kind::Users => &FULL_USER,
        Kind::Tags => &TAG,
        Kind::Comments => &COMMENT,
    }
}

/// The types by their names in filters: `question.title`.
const TYPES: [(&str, &[Member]); 18] = [
    ("answer", &ANSWER),
    ("badge_count", &BADGE_COUNT),
    ("closed_details", &CLOSED_DETAILS),
    ("collective", &COLLECTIVE),
    ("collective_external_link", &EXTERNAL_LINK),
    ("collective_membership", &MEMBERSHIP),
    ("collective_recommendation", &RECOMMENDATION),
    ("comment", &COMMENT),
    ("migration_info", &MIGRATION),
    ("notice", &NOTICE),
    ("original_question", &ORIGINAL_QUESTION),
    ("question", &QUESTION),
    ("related_site", &RELATED_SITE),
    ("shallow_user", &SHALLOW_USER),
    ("site", &SITE),
    ("styling", &STYLING),
    ("tag", &TAG),
    ("user", &FULL_USER),
];

/// Every documented field of rows, as filters name it.
pub(crate) fn documented() -> impl Iterator<Item = String> {
    let types = TYPES.iter();
    types.flat_map(|(of, members)| members.iter().map(move |(name, _)| format!("{of}.{name}")))
}

/// Whether safe filters encode a field of a stream.
pub(crate) fn is_prose(kind: Kind, field: &str) -> bool {
    of(kind)
        .iter()
        .any(|(name, of)| *name == field && matches!(of, Prose))
}

/// The columns of a stream.
pub(crate) fn schema(kind: Kind) -> SchemaRef {
    columns(
        kind,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    )
}

/// The same as the rows come: times are numbers.
pub(crate) fn wire_schema(kind: Kind) -> SchemaRef {
    columns(kind, DataType::Int64)
}

fn columns(kind: Kind, time: DataType) -> SchemaRef {
    let column = |(name, of): &Member| Field::new(*name, of.arrow(&time), *name != kind.key());
    Arc::new(Schema::new(of(kind).iter().map(column).collect::<Fields>()))
}

impl Type {
    fn arrow(self, time: &DataType) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Bool => DataType::Boolean,
            Self::Time => time.clone(),
            Self::Text | Self::Prose => DataType::Utf8,
            Self::List(items) => {
                DataType::List(Arc::new(Field::new_list_field(items.arrow(time), true)))
            }
            Self::Object(members) => DataType::Struct(
                members
                    .iter()
                    .map(|(name, of)| Field::new(*name, of.arrow(time), true))
                    .collect(),
            ),
        }
    }
}
