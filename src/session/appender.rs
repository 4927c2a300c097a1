//! A text that is appended in pieces.

use super::Session;
use crate::{
    context::{Appended, Context},
    error::Result,
};

/// Appends a text to a [`Session`] in pieces: the context is that of the whole text.
///
/// Text that may still be part of a longer sentence is held back until more arrives or
/// [`finish`](Self::finish) is called. It is lost if the appender is dropped.
#[derive(Debug)]
#[must_use = "text is held back until `finish` is called"]
pub struct Appender<'s> {
    session: &'s mut Session,
    /// What is held back.
    text: String,
    appended: Appended,
}

impl<'s> Appender<'s> {
    pub(super) fn new(session: &'s mut Session) -> Self {
        Self {
            session,
            text: String::new(),
            appended: Appended::default(),
        }
    }

    /// Append the next piece of the text.
    ///
    /// # Errors
    /// As [`Session::append`]; the piece is then held back.
    pub fn push(&mut self, piece: &str) -> Result<()> {
        self.text.push_str(piece);
        // In kind `opt` a token may reach over the end of a sentence.
        let Context::Sentences(context) = &mut self.session.context else {
            return Ok(());
        };
        let pipeline = self.session.model.text_pipeline();
        let [_, incomplete] = pipeline.pieces(&self.text).incomplete_bytes();
        let complete = self.text.len() - incomplete;
        if complete == 0 {
            return Ok(());
        }
        let mut pieces = pipeline.sentences(&self.text)?;
        let mut sentences = Vec::new();
        while self.text.len() - pieces.remaining_bytes() < complete
            && let Some(sentence) = pieces.next()
        {
            sentences.push(sentence?);
        }
        context.append_text_sentences(&sentences)?;
        self.appended.sentences += sentences.len();
        let truncated = sentences.iter().filter(|sentence| sentence.truncated);
        self.appended.truncated += truncated.count();
        self.text.drain(..complete);
        Ok(())
    }

    /// Append the text that is held back; returns what was appended in total.
    ///
    /// # Errors
    /// As [`Session::append`].
    pub fn finish(mut self) -> Result<Appended> {
        let appended = self.session.append(&self.text)?;
        self.appended.sentences += appended.sentences;
        self.appended.truncated += appended.truncated;
        self.appended.dropped = appended.dropped;
        Ok(self.appended)
    }
}
