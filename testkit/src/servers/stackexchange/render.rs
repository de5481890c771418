//! How rows are put as JSON: the fields of the filter, and texts encoded unless it is unsafe.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::data::{Answer, Comment, Id, Owner, Question, Row, Second, Tables, Tag, User};
use super::filter::Filter;

/// The rows at one time through one filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) site: &'a str,
    pub(super) rows: &'a Tables,
    pub(super) filter: &'a Filter,
}

/// An object that takes only the fields that are sent.
struct Object<'a> {
    sent: &'a HashSet<&'static str>,
    map: Map<String, Value>,
}

impl Object<'_> {
    fn put<V: Into<Value>>(&mut self, field: &str, value: impl FnOnce() -> V) {
        if self.sent.contains(field) {
            self.map.insert(field.to_owned(), value().into());
        }
    }

    /// A field that is absent without a value: the API has no nulls.
    fn maybe<V: Into<Value>>(&mut self, field: &str, value: Option<V>) {
        if let Some(value) = value
            && self.sent.contains(field)
        {
            self.map.insert(field.to_owned(), value.into());
        }
    }

    fn done(self) -> Value {
        Value::Object(self.map)
    }
}

impl View<'_> {
    pub(super) fn row(&self, row: &Row) -> Value {
        match row {
            Row::Question(row) => self.question(row),
            Row::Answer(row) => self.answer(row),
            Row::User(row) => self.user(row),
            Row::Tag(row) => self.tag(row),
            Row::Comment(row) => self.comment(row),
        }
    }

    fn object(&self, kind: &str) -> Object<'_> {
        Object {
            sent: self.filter.fields(kind),
            map: Map::new(),
        }
    }

    /// A text that isn't HTML.
    fn text(&self, text: &str) -> Value {
        if self.filter.unsafe_texts {
            text.into()
        } else {
            encode(text).into()
        }
    }

    fn url(&self, rest: &str) -> String {
        match self.site {
            "askubuntu" | "serverfault" | "stackoverflow" | "superuser" => {
                format!("https://{}.com/{rest}", self.site)
            }
            site => format!("https://{site}.stackexchange.com/{rest}"),
        }
    }

    fn question(&self, row: &Question) -> Value {
        let mut to = self.object("question");
        to.put("tags", || json!(row.tags));
        self.owned(&mut to, "owner", &row.owner);
        to.put("is_answered", || {
            let mut answers = row.answers.iter().filter_map(|&id| self.rows.answer(id));
            row.accepted.is_some() || answers.any(|answer| answer.score > 0)
        });
        to.put("view_count", || row.views);
        to.maybe("protected_date", row.protected);
        to.maybe("closed_date", row.closed.map(|(at, _)| at));
        to.maybe("accepted_answer_id", row.accepted);
        to.maybe("bounty_amount", row.bounty.map(|(amount, _)| amount));
        to.maybe("bounty_closes_date", row.bounty.map(|(_, closes)| closes));
        if row.bounty.is_some() {
            self.owned(&mut to, "bounty_user", &row.owner);
        }
        to.put("answer_count", || row.answers.len());
        to.maybe("community_owned_date", row.community);
        to.maybe("locked_date", row.locked);
        to.put("score", || row.score);
        to.put("last_activity_date", || row.active);
        to.put("creation_date", || row.asked);
        to.maybe("last_edit_date", row.edited);
        to.put("question_id", || row.id);
        to.maybe("content_license", row.license);
        to.put("link", || {
            self.url(&format!("questions/{}/{}", row.id, slug(&row.title)))
        });
        to.put("share_link", || self.url(&format!("q/{}", row.id)));
        if let Some((at, reason)) = row.closed {
            to.put("closed_reason", || self.text(reason));
            to.put("closed_details", || self.closed(reason));
            to.put("close_vote_count", || 0);
            if let Some((_, id)) = row.migrated {
                to.put("migrated_to", || self.migration(at, id));
            }
        } else if let Some((at, id)) = row.migrated {
            to.put("migrated_from", || self.migration(at, id));
        }
        to.put("title", || self.text(&row.title));
        to.put("body", || row.body.as_str());
        to.put("body_markdown", || self.text(&markdown(&row.body)));
        to.put("comment_count", || row.comments.len());
        to.put("up_vote_count", || row.score.max(0) + 1);
        to.put("down_vote_count", || (-row.score).max(0) + 1);
        to.put("favorite_count", || row.views / 500);
        to.put("delete_vote_count", || 0);
        to.put("reopen_vote_count", || 0);
        if let Some(editor) = row.editor {
            self.owned(&mut to, "last_editor", &Owner::User(editor));
        }
        if !row.answers.is_empty() {
            to.put("answers", || {
                let answers = row.answers.iter().filter_map(|&id| self.rows.answer(id));
                answers.map(|answer| self.answer(answer)).collect::<Value>()
            });
        }
        self.comments(&mut to, &row.comments);
        to.done()
    }

    fn answer(&self, row: &Answer) -> Value {
        let question = self.rows.question(row.question);
        let accepted = question.is_some_and(|question| question.accepted == Some(row.id));
        let mut to = self.object("answer");
        self.owned(&mut to, "owner", &row.owner);
        to.put("is_accepted", || accepted);
        to.maybe("community_owned_date", row.community);
        to.put("score", || row.score);
        to.put("last_activity_date", || row.active);
        to.maybe("last_edit_date", row.edited);
        to.put("creation_date", || row.given);
        to.put("answer_id", || row.id);
        to.put("question_id", || row.question);
        to.maybe("content_license", row.license);
        to.put("body", || row.body.as_str());
        to.put("body_markdown", || self.text(&markdown(&row.body)));
        to.put("share_link", || self.url(&format!("a/{}", row.id)));
        to.put("comment_count", || row.comments.len());
        to.put("up_vote_count", || row.score.max(0) + 1);
        to.put("down_vote_count", || (-row.score).max(0) + 1);
        if let Some(question) = question {
            to.put("title", || self.text(&question.title));
            to.put("tags", || json!(question.tags));
            to.put("link", || {
                let slug = slug(&question.title);
                let rest = format!("questions/{}/{slug}/{}#{}", row.question, row.id, row.id);
                self.url(&rest)
            });
        }
        self.comments(&mut to, &row.comments);
        to.done()
    }

    fn comment(&self, row: &Comment) -> Value {
        let mut to = self.object("comment");
        self.owned(&mut to, "owner", &row.owner);
        if let Some(other) = &row.reply_to {
            self.owned(&mut to, "reply_to_user", other);
        }
        to.put("edited", || row.edited);
        to.put("score", || row.score);
        to.put("creation_date", || row.made);
        to.put("post_id", || row.post);
        to.put("post_type", || row.post_type);
        to.put("comment_id", || row.id);
        to.put("content_license", || "CC BY-SA 4.0");
        to.put("body", || row.body.as_str());
        to.put("body_markdown", || self.text(&markdown(&row.body)));
        to.put("link", || {
            self.url(&format!(
                "questions/{}/#comment{}_{}",
                row.post, row.id, row.post
            ))
        });
        to.done()
    }

    fn comments(&self, to: &mut Object<'_>, ids: &[Id]) {
        if !ids.is_empty() {
            to.put("comments", || {
                let comments = ids.iter().filter_map(|&id| self.rows.comment(id));
                comments.map(|row| self.comment(row)).collect::<Value>()
            });
        }
    }

    fn user(&self, row: &User) -> Value {
        let mut to = self.object("user");
        to.put("badge_counts", || self.badges(row));
        to.put("account_id", || row.account);
        to.put("is_employee", || row.employee);
        to.maybe("last_modified_date", row.modified);
        to.put("last_access_date", || row.seen);
        for (period, share) in [
            ("reputation_change_year", 10),
            ("reputation_change_quarter", 40),
            ("reputation_change_month", 120),
            ("reputation_change_week", 500),
            ("reputation_change_day", 3_500),
        ] {
            to.put(period, || row.reputation / share);
        }
        to.put("reputation", || row.reputation);
        to.put("creation_date", || row.created);
        to.put("user_type", || row.kind);
        to.put("user_id", || row.id);
        to.maybe("accept_rate", row.accept_rate);
        to.maybe(
            "location",
            row.location.as_deref().map(|text| self.text(text)),
        );
        to.maybe("website_url", row.website.as_deref());
        to.put("link", || {
            self.url(&format!("users/{}/{}", row.id, slug(&row.name)))
        });
        to.put("profile_image", || image(row.id));
        to.put("display_name", || self.text(&row.name));
        to.maybe("about_me", row.about.as_deref());
        to.put("view_count", || row.reputation / 7);
        to.put("up_vote_count", || row.reputation / 13);
        to.put("down_vote_count", || row.reputation / 170);
        to.put("question_count", || row.reputation / 60);
        to.put("answer_count", || row.reputation / 40);
        to.done()
    }

    /// A `shallow_user`: of somebody deleted only the type and a name
    /// (api.stackexchange.com/docs/types/shallow-user).
    fn owned(&self, to: &mut Object<'_>, field: &str, owner: &Owner) {
        match owner {
            Owner::Nobody => {}
            Owner::Gone(name) => to.put(field, || self.gone(name)),
            Owner::User(id) => to.put(field, || match self.rows.user(*id) {
                Some(user) => self.shallow(user),
                None => self.gone(&format!("user{id}")),
            }),
        }
    }

    fn gone(&self, name: &str) -> Value {
        let mut to = self.object("shallow_user");
        to.put("user_type", || "does_not_exist");
        to.put("display_name", || self.text(name));
        to.done()
    }

    fn shallow(&self, user: &User) -> Value {
        let mut to = self.object("shallow_user");
        to.put("account_id", || user.account);
        to.put("reputation", || user.reputation);
        to.put("user_id", || user.id);
        to.put("user_type", || user.kind);
        to.maybe("accept_rate", user.accept_rate);
        to.put("profile_image", || image(user.id));
        to.put("display_name", || self.text(&user.name));
        to.put("link", || {
            self.url(&format!("users/{}/{}", user.id, slug(&user.name)))
        });
        to.put("badge_counts", || self.badges(user));
        to.done()
    }

    fn badges(&self, user: &User) -> Value {
        let mut to = self.object("badge_count");
        for (badge, count) in ["bronze", "silver", "gold"].into_iter().zip(user.badges) {
            to.put(badge, || count);
        }
        to.done()
    }

    fn tag(&self, row: &Tag) -> Value {
        let mut to = self.object("tag");
        to.put("has_synonyms", || !row.synonyms.is_empty());
        to.put("is_moderator_only", || false);
        to.put("is_required", || false);
        to.put("count", || row.count);
        to.put("name", || row.name.as_str());
        to.put("last_activity_date", || row.active);
        if !row.synonyms.is_empty() {
            to.put("synonyms", || json!(row.synonyms));
        }
        to.done()
    }

    fn closed(&self, reason: &str) -> Value {
        let mut to = self.object("closed_details");
        to.put("on_hold", || false);
        to.put("reason", || self.text(reason));
        to.put("description", || {
            format!("This question was closed: <em>{}</em>.", encode(reason))
        });
        to.put("by_users", || json!([]));
        to.put("original_questions", || json!([]));
        to.done()
    }

    fn migration(&self, at: Second, question: Id) -> Value {
        let mut site = self.object("site");
        site.put("site_type", || "main_site");
        site.put("name", || "Super User");
        site.put("api_site_parameter", || "superuser");
        site.put("site_url", || "https://superuser.com");
        let mut to = self.object("migration_info");
        to.put("on_date", || at);
        to.put("other_site", || site.done());
        to.put("question_id", || question);
        to.done()
    }
}

/// As .NET's `WebUtility.HtmlEncode` does, by which safe filters go: quotes too, and characters
/// from U+00A0 to U+00FF and beyond U+FFFF by their numbers.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => encoded.push_str("&amp;"),
            '<' => encoded.push_str("&lt;"),
            '>' => encoded.push_str("&gt;"),
            '"' => encoded.push_str("&quot;"),
            '\'' => encoded.push_str("&#39;"),
            '\u{a0}'..='\u{ff}' | '\u{1_0000}'.. => {
                // Writing to a string can't fail.
                let _ = write!(encoded, "&#{};", u32::from(character));
            }
            other => encoded.push(other),
        }
    }
    encoded
}

/// The words of a title as they stand in links.
fn slug(title: &str) -> String {
    let words = title.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

fn markdown(html: &str) -> String {
    html.replace("<p>", "").replace("</p>", "\n\n")
}

fn image(user: Id) -> String {
    format!("https://www.gravatar.com/avatar/{user:032x}?s=256&d=identicon&r=PG")
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn texts_are_encoded_as_dotnet_does() {
        assert_eq!(
            encode(r#"a < b && "c" isn't > ä é 漢 🦀"#),
            "a &lt; b &amp;&amp; &quot;c&quot; isn&#39;t &gt; &#228; &#233; 漢 &#129408;"
        );
    }
}
