use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Resource {
    Users,
    Posts,
    Comments,
    Albums,
    Photos,
    Todos,
}
use Resource::{Albums, Comments, Photos, Posts, Todos, Users};

impl Resource {
    /// All of them.
    pub const ALL: [Self; 6] = [Users, Posts, Comments, Albums, Photos, Todos];

    /// Its name: of the stream, and in the URL.
    pub fn name(self) -> &'static str {
        match self {
            Users => "users",
            Posts => "posts",
            Comments => "comments",
            Albums => "albums",
            Photos => "photos",
            Todos => "todos",
        }
    }

    /// Its columns, named as the server names them. Latitude and longitude are texts there.
    pub fn schema(self) -> SchemaRef {
        let columns = match self {
            Users => {
                let geo = object("geo", texts("lat lng"));
                let address = object(
                    "address",
                    [texts("street suite city zipcode"), geo].concat(),
                );
                let company = object("company", texts("name catchPhrase bs"));
                [
                    texts("name username email"),
                    address,
                    texts("phone website"),
                    company,
                ]
                .concat()
            }
            Posts => [number("userId"), texts("title body")].concat(),
            Comments => [number("postId"), texts("name email body")].concat(),
            Albums => [number("userId"), texts("title")].concat(),
            Photos => [number("albumId"), texts("title url thumbnailUrl")].concat(),
            Todos => [
                number("userId"),
                texts("title"),
                column("completed", DataType::Boolean),
            ]
            .concat(),
        };
        let id = Field::new("id", DataType::Int64, false);
        Arc::new(Schema::new([vec![id], columns].concat()))
    }
}

fn column(name: &str, data_type: DataType) -> Vec<Field> {
    vec![Field::new(name, data_type, true)]
}

fn number(name: &str) -> Vec<Field> {
    column(name, DataType::Int64)
}

fn texts(names: &str) -> Vec<Field> {
    names
        .split(' ')
        .flat_map(|name| column(name, DataType::Utf8))
        .collect()
}

fn object(name: &str, fields: Vec<Field>) -> Vec<Field> {
    column(name, DataType::Struct(fields.into()))
}
