//! Remarks on why a continuation ended.

use sllm_ort::{FinishReason, config::ModelKind};

/// What a user may not expect of the end of a text; `nothing` says that no text is new.
pub fn remark(reason: FinishReason, nothing: bool, kind: ModelKind) -> Option<&'static str> {
    Some(match reason {
        FinishReason::ContextFull if kind == ModelKind::Opt => {
            "the context is full, so that the text ends here"
        }
        FinishReason::ContextFull => {
            "the context is full, so that the text ends here; --when-full drop-oldest drops \
             its oldest sentences instead"
        }
        FinishReason::StopText if nothing => {
            "nothing is generated: the continuation begins with a text of --stop"
        }
        FinishReason::Stop if nothing => {
            "nothing is generated: the model ends the text here; --ignore-stop continues it"
        }
        FinishReason::MaxSentences if nothing => "nothing is generated: --max-sentences is 0",
        FinishReason::MaxTokens if nothing => "nothing is generated: --max-tokens is 0",
        FinishReason::TimeLimit if nothing => {
            "nothing is generated: --time-limit was over before the first token"
        }
        _ => return None,
    })
}
