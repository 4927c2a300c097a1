//! Errors of the library.

use sllm_ort::{
    Error, ErrorKind,
    error::{GraphError, StateError},
};

use super::{super::store::Origin, ApiError};

/// What errors about a session's context name: the id in the path.
pub const SESSION: &str = "id";
/// What errors about the prompt of a chat name.
pub const MESSAGES: &str = "messages";

impl ApiError {
    /// An error of the library, about this field where it names none itself.
    pub fn of_library(error: &Error, param: &str) -> Self {
        let message = || in_list(param, error.to_string());
        match (error, error.kind()) {
            (
                Error::InvalidOption {
                    option,
                    value,
                    allowed,
                },
                _,
            ) => {
                let field = option.replace('-', "_");
                let message = format!("{field} is {value}, allowed is {allowed}");
                Self::invalid(&field, message)
            }
            (Error::EmptyContext, _) => Self::invalid(param, nothing_to_continue(error, param)),
            (_, ErrorKind::TooLong) => Self::too_long(param, message()),
            (Error::WrongKind { .. }, _) => Self::invalid("model", error.to_string()),
            (Error::State(StateError::Session { problem, .. }), _) => {
                Self::invalid(param, format!("not a snapshot of a session: {problem}"))
            }
            (Error::State(StateError::SessionModel { model, .. }), _) => {
                Self::invalid(param, format!("not a snapshot of the model {model}"))
            }
            (_, ErrorKind::InvalidInput) => Self::invalid(param, message()),
            (_, ErrorKind::Cancelled) => Self::timeout(),
            _ => {
                tracing::error!(%error, cause = std::error::Error::source(error), "a request failed");
                Self::internal()
            }
        }
    }

    /// An option that is refused and is an element of a list.
    pub fn of_element(error: &Error, param: &str) -> Self {
        match error {
            Error::InvalidOption { value, allowed, .. } => {
                Self::invalid(param, format!("{param} is {value}, allowed is {allowed}"))
            }
            _ => Self::of_library(error, param),
        }
    }

    /// An error of the library about a session, whose snapshot may hold numbers that no graph gave.
    pub fn of_session(error: &Error, param: &str, origin: Origin) -> Self {
        match origin {
            Origin::Snapshot if is_not_finite(error) => {
                // Its message is about the weights of the model.
                tracing::info!("a session of a snapshot has unusable values");
                Self::unusable_session()
            }
            _ => Self::of_library(error, param),
        }
    }
}

/// A message about an element of a list has its place in front: `prompt[1]: ...`.
fn in_list(param: &str, message: String) -> String {
    match param.ends_with(']') {
        true => format!("{param}: {message}"),
        false => message,
    }
}

fn nothing_to_continue(error: &Error, param: &str) -> String {
    match param {
        SESSION => "there is nothing to continue: append a text to the session first".into(),
        MESSAGES => "there is nothing to continue: send a message with a sentence".into(),
        _ => in_list(param, error.to_string()),
    }
}

fn is_not_finite(error: &Error) -> bool {
    match error {
        Error::Graph(GraphError::NotFinite { .. }) => true,
        Error::BatchRow { source, .. } => is_not_finite(source),
        Error::Shared(source) => is_not_finite(source),
        _ => false,
    }
}
