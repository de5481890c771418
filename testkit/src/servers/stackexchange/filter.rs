//! Filters: which fields an answer holds, and whether its texts are safe
//! (api.stackexchange.com/docs/filters).

use std::collections::{BTreeMap, HashSet};

/// The fields of each type, those of the filter `default` first, by the pages of
/// api.stackexchange.com/docs/types. The empty name is the wrapper's.
const TYPES: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &[
            "backoff",
            "error_id",
            "error_message",
            "error_name",
            "has_more",
            "items",
            "quota_max",
            "quota_remaining",
        ],
        &["page", "page_size", "total", "type"],
    ),
    (
        "question",
        &[
            "accepted_answer_id",
            "answer_count",
            "bounty_amount",
            "bounty_closes_date",
            "closed_date",
            "closed_reason",
            "collectives",
            "community_owned_date",
            "content_license",
            "creation_date",
            "is_answered",
            "last_activity_date",
            "last_edit_date",
            "link",
            "locked_date",
            "migrated_from",
            "migrated_to",
            "owner",
            "posted_by_collectives",
            "protected_date",
            "question_id",
            "score",
            "tags",
            "title",
            "view_count",
        ],
        &[
            "answers",
            "body",
            "body_markdown",
            "bounty_user",
            "can_answer",
            "can_close",
            "can_comment",
            "can_edit",
            "can_flag",
            "can_suggest_edit",
            "close_vote_count",
            "closed_details",
            "comment_count",
            "comments",
            "delete_vote_count",
            "down_vote_count",
            "downvoted",
            "favorite_count",
            "favorited",
            "last_editor",
            "notice",
            "recommendations",
            "reopen_vote_count",
            "share_link",
            "up_vote_count",
            "upvoted",
        ],
    ),
    (
        "answer",
        &[
            "answer_id",
            "awarded_bounty_amount",
            "awarded_bounty_users",
            "collectives",
            "community_owned_date",
            "content_license",
            "creation_date",
            "is_accepted",
            "last_activity_date",
            "last_edit_date",
            "locked_date",
            "owner",
            "posted_by_collectives",
            "question_id",
            "recommendations",
            "score",
        ],
        &[
            "accepted",
            "body",
            "body_markdown",
            "can_comment",
            "can_edit",
            "can_flag",
            "can_suggest_edit",
            "comment_count",
            "comments",
            "down_vote_count",
            "downvoted",
            "last_editor",
            "link",
            "share_link",
            "tags",
            "title",
            "up_vote_count",
            "upvoted",
        ],
    ),
    (
        "comment",
        &[
            "comment_id",
            "content_license",
            "creation_date",
            "edited",
            "owner",
            "post_id",
            "post_type",
            "reply_to_user",
            "score",
        ],
        &["body", "body_markdown", "can_flag", "link", "upvoted"],
    ),
    (
        "user",
        &[
            "accept_rate",
            "account_id",
            "age",
            "badge_counts",
            "collectives",
            "creation_date",
            "display_name",
            "is_employee",
            "last_access_date",
            "last_modified_date",
            "link",
            "location",
            "profile_image",
            "reputation",
            "reputation_change_day",
            "reputation_change_month",
            "reputation_change_quarter",
            "reputation_change_week",
            "reputation_change_year",
            "timed_penalty_date",
            "user_id",
            "user_type",
            "website_url",
        ],
        &[
            "about_me",
            "answer_count",
            "down_vote_count",
            "question_count",
            "up_vote_count",
            "view_count",
        ],
    ),
    (
        "shallow_user",
        &[
            "accept_rate",
            "account_id",
            "display_name",
            "link",
            "profile_image",
            "reputation",
            "user_id",
            "user_type",
        ],
        &["badge_counts"],
    ),
    (
        "tag",
        &[
            "collectives",
            "count",
            "has_synonyms",
            "is_moderator_only",
            "is_required",
            "name",
        ],
        &["last_activity_date", "synonyms", "user_id"],
    ),
    ("badge_count", &["bronze", "gold", "silver"], &[]),
    (
        "closed_details",
        &[
            "by_users",
            "description",
            "on_hold",
            "original_questions",
            "reason",
        ],
        &[],
    ),
    (
        "original_question",
        &["accepted_answer_id", "answer_count", "question_id", "title"],
        &[],
    ),
    (
        "migration_info",
        &["on_date", "other_site", "question_id"],
        &[],
    ),
    ("notice", &["body", "creation_date", "owner_user_id"], &[]),
    (
        "collective",
        &[
            "description",
            "external_links",
            "link",
            "name",
            "slug",
            "tags",
        ],
        &[],
    ),
    ("collective_external_link", &["link", "type"], &[]),
    ("collective_membership", &["collective", "role"], &[]),
    (
        "collective_recommendation",
        &["collective", "creation_date"],
        &[],
    ),
    (
        "related_site",
        &["api_site_parameter", "name", "relation", "site_url"],
        &[],
    ),
    (
        "styling",
        &["link_color", "tag_background_color", "tag_foreground_color"],
        &[],
    ),
    ("error", &["description", "error_id", "error_name"], &[]),
    ("filter", &["filter", "filter_type", "included_fields"], &[]),
    (
        "site",
        &[
            "aliases",
            "api_site_parameter",
            "audience",
            "closed_beta_date",
            "favicon_url",
            "high_resolution_icon_url",
            "icon_url",
            "launch_date",
            "logo_url",
            "markdown_extensions",
            "name",
            "open_beta_date",
            "related_sites",
            "site_state",
            "site_type",
            "site_url",
            "styling",
            "twitter_account",
        ],
        &[],
    ),
];

/// What the ids of filters are written in.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

/// Which fields are sent, by type, and how texts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    fields: BTreeMap<&'static str, HashSet<&'static str>>,
    pub(super) unsafe_texts: bool,
}

fn all() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    TYPES.iter().flat_map(|(kind, default, more)| {
        let default = default.iter().map(|field| (*kind, *field, true));
        default.chain(more.iter().map(|field| (*kind, *field, false)))
    })
}

impl Filter {
    fn of(these: impl Fn(&str, &str, bool) -> bool) -> Self {
        let mut fields = BTreeMap::<_, HashSet<_>>::new();
        for (kind, field, default) in all() {
            let of_kind = fields.entry(kind).or_default();
            if these(kind, field, default) {
                of_kind.insert(field);
            }
        }
        Self {
            fields,
            unsafe_texts: false,
        }
    }

    /// Everything, and texts as they are.
    pub(super) fn everything() -> Self {
        let mut filter = Self::of(|_, _, _| true);
        filter.unsafe_texts = true;
        filter
    }

    /// Leaves out the rows that are in other rows and have methods of their own.
    pub(super) fn drop_nested(&mut self) {
        for fields in self.fields.values_mut() {
            fields.retain(|field| !matches!(*field, "answers" | "comments"));
        }
    }

    /// The filter with this name or id; `None` if there is none.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::of(|_, _, default| default)),
            "withbody" => Some(Self::of(|_, field, default| default || field == "body")),
            "none" => Some(Self::of(|_, _, _| false)),
            "total" => Some(Self::of(|kind, field, _| {
                kind.is_empty() && field == "total"
            })),
            id => Self::from_id(id.strip_prefix('!')?),
        }
    }

    /// What `/filters/create` makes (api.stackexchange.com/docs/create-filter); what is wrong with
    /// the request otherwise.
    pub(super) fn created(
        base: Option<&str>,
        include: &str,
        exclude: &str,
        unsafe_texts: bool,
    ) -> Result<Self, String> {
        let mut filter = Self::named(base.unwrap_or("default")).ok_or_else(|| "base".to_owned())?;
        for (names, included) in [(include, true), (exclude, false)] {
            for name in names.split(';').filter(|name| !name.is_empty()) {
                let known =
                    all().find(|(kind, field, _)| name.split_once('.') == Some((kind, field)));
                let Some((kind, field, _)) = known else {
                    let parameter = if included { "include" } else { "exclude" };
                    return Err(format!("{parameter}: no field `{name}`"));
                };
                let fields = filter.fields.entry(kind).or_default();
                if included {
                    fields.insert(field);
                } else {
                    fields.remove(field);
                }
            }
        }
        filter.unsafe_texts = unsafe_texts;
        Ok(filter)
    }

    /// The fields of a type that are sent.
    pub(super) fn fields(&self, kind: &str) -> &HashSet<&'static str> {
        &self.fields[kind]
    }

    pub(super) fn has(&self, kind: &str, field: &str) -> bool {
        self.fields(kind).contains(field)
    }

    /// `question.title`, `.items` and so on, as `included_fields` lists them.
    pub(super) fn included(&self) -> Vec<String> {
        let fields = all().filter(|(kind, field, _)| self.has(kind, field));
        fields
            .map(|(kind, field, _)| format!("{kind}.{field}"))
            .collect()
    }

    /// Its id. It holds the fields themselves, so it never expires and is the same in every
    /// server, as the ids of the API are.
    pub(super) fn id(&self) -> String {
        let bits = all().map(|(kind, field, _)| self.has(kind, field));
        let bits: Vec<bool> = std::iter::once(self.unsafe_texts).chain(bits).collect();
        let digits: Vec<usize> = bits
            .chunks(6)
            .map(|six| {
                six.iter()
                    .fold(0, |digit, &bit| digit * 2 + usize::from(bit))
            })
            .collect();
        let check = check(&digits);
        let digits = digits.into_iter().chain([check]);
        let text: String = digits.map(|digit| char::from(DIGITS[digit])).collect();
        format!("!{text}")
    }

    fn from_id(digits: &str) -> Option<Self> {
        let digits: Option<Vec<usize>> = digits
            .bytes()
            .map(|digit| DIGITS.iter().position(|&other| other == digit))
            .collect();
        let mut digits = digits?;
        if digits.pop()? != check(&digits) {
            return None;
        }
        let count = all().count() + 1;
        if digits.len() != count.div_ceil(6) {
            return None;
        }
        let bit = |at: usize| {
            // The last digit may hold fewer than six.
            let in_digit = (count - at / 6 * 6).min(6);
            digits[at / 6] >> (in_digit - 1 - at % 6) & 1 == 1
        };
        let mut filter = Self::of(|_, _, _| false);
        filter.unsafe_texts = bit(0);
        for (at, (kind, field, _)) in all().enumerate() {
            if bit(at + 1) {
                filter.fields.entry(kind).or_default().insert(field);
            }
        }
        Some(filter)
    }
}

fn check(digits: &[usize]) -> usize {
    let sum = digits
        .iter()
        .fold(7, |sum: usize, digit| sum * 31 % 4093 + digit);
    sum % 64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::Filter;

    #[test]
    fn an_id_says_what_the_filter_is() {
        let include = ".total;question.body;shallow_user.badge_counts";
        let created = Filter::created(None, include, "question.owner", true).unwrap();
        assert_eq!(Filter::named(&created.id()), Some(created.clone()));
        assert!(created.has("", "total") && created.has("question", "body"));
        assert!(!created.has("question", "owner"));
        for name in ["default", "withbody", "none", "total"] {
            let built_in = Filter::named(name).unwrap();
            assert_eq!(Filter::named(&built_in.id()), Some(built_in));
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let mut garbled = Filter::named("default").unwrap().id();
        garbled.pop();
        for name in ["", "!", "!abc", "withbodies", "a filter", &garbled] {
            assert_eq!(Filter::named(name), None, "{name}");
        }
        let unknown = Filter::created(None, "question.titel", "", false);
        assert_eq!(
            unknown,
            Err("include: no field `question.titel`".to_owned())
        );
        assert!(Filter::created(Some("!x"), "", "", false).is_err());
    }
}
