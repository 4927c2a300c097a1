//! The messages of a chat, and the text that is made of them.

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::super::{
    app::Served,
    body::{Neutral, Unsupported},
    error::ApiError,
    json::Object,
};

/// A message; only a chat template makes a difference of who wrote it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    role: Role,
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Message {
    /// What answers of OpenAI's API have, which clients send back.
    pub const UNSUPPORTED: Unsupported = &[
        ("refusal", Neutral::Null),
        ("audio", Neutral::Null),
        ("annotations", Neutral::Empty),
        ("tool_calls", Neutral::Empty),
        ("function_call", Neutral::Null),
    ];
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
}

/// A text, or parts of type `text`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of parts of type text")]
pub enum Content {
    Text(String),
    #[schema(value_type = Vec<Part>)]
    Parts(Vec<Object<Part>>),
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Part {
    Text { text: String },
}

impl Content {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .map(|Object(Part::Text { text })| text.as_str())
                .collect(),
        }
    }
}

/// A template sees one text.
impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

/// The text of all messages.
pub fn prompt(messages: &[Object<Message>], served: &Served) -> Result<String, ApiError> {
    let Some(template) = &served.chat_template else {
        let texts: Vec<String> = messages.iter().map(|one| one.0.content.text()).collect();
        return Ok(texts.join("\n"));
    };
    template.render(&messages).map_err(|error| {
        let problem = error
            .detail()
            .map_or_else(|| error.to_string(), ToOwned::to_owned);
        ApiError::invalid(
            "messages",
            format!(
                "the chat template of {} does not take these messages: {problem}",
                served.name()
            ),
        )
    })
}
