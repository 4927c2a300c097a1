//! Appending the prompt of `run` to a session.

use anyhow::bail;
use sllm_ort::{Appended, Error, Session};

use super::Full;
use crate::cli::output;

/// Append a prompt; warns of what is not taken.
pub fn append(session: &mut Session, prompt: &str, when_full: Full) -> anyhow::Result<()> {
    let appended = match session.append(prompt) {
        // Kind opt counts its context in tokens, and does not have this option.
        Err(Error::ContextFull {
            unit: "sentences", ..
        }) => append_to_full(session, prompt, when_full)?,
        appended => appended?,
    };
    if appended.truncated > 0 {
        output::warn(&format!(
            "only the beginning of {} of the prompt is taken",
            output::count(appended.truncated, "sentence")
        ));
    }
    output::warn_dropped(&appended.dropped);
    Ok(())
}

/// Append a prompt after as many of the oldest sentences were dropped as it needs, if they may be.
fn append_to_full(
    session: &mut Session,
    prompt: &str,
    when_full: Full,
) -> anyhow::Result<Appended> {
    let pipeline = session.model().text_pipeline().clone();
    let mut needed = 0;
    for sentence in pipeline.sentences(prompt)? {
        sentence?;
        needed += 1;
    }
    let limit = session.len() + session.remaining();
    if needed > limit {
        bail!(
            "the prompt has {needed} sentences, a context of this model holds {limit}: shorten it"
        );
    }
    let dropped = needed - session.remaining();
    if when_full == Full::Stop {
        bail!(
            "the prompt has {}, and the session holds {} of at most {limit}: shorten the prompt, \
             or let --when-full drop-oldest drop the oldest {dropped}",
            output::count(needed, "sentence"),
            session.len()
        );
    }
    session.drop_oldest(dropped)?;
    output::warn(&match dropped {
        1 => "the oldest sentence was dropped for the prompt".to_owned(),
        _ => format!("the oldest {dropped} sentences were dropped for the prompt"),
    });
    Ok(session.append(prompt)?)
}
