//! Answers in pieces: server-sent events.

use std::{convert::Infallible, future::Future};

use axum::{
    http::{HeaderName, HeaderValue},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::error::ApiError;

/// Tells a reverse proxy (nginx) to pass events on as they come.
const NO_BUFFERING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);
/// Events that wait for a slow reader, before whoever writes them waits too.
const BUFFERED: usize = 16;

/// Where the events of an answer are written.
pub struct Writer {
    events: Sender<Result<sse::Event, Infallible>>,
}

/// The client is gone.
pub struct Gone;

impl Writer {
    /// Write an object.
    pub async fn json(&self, value: &impl Serialize) -> Result<(), Gone> {
        match serde_json::to_string(value) {
            Ok(text) => self.text(&text).await,
            Err(_) => Err(Gone),
        }
    }

    async fn text(&self, text: &str) -> Result<(), Gone> {
        let event = sse::Event::default().data(text);
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }

    /// Write an error, which ends the answer.
    pub async fn error(&self, error: &ApiError) -> Result<(), Gone> {
        self.json(&error.body()).await
    }

    /// Write the mark of the end.
    pub async fn done(&self) -> Result<(), Gone> {
        self.text("[DONE]").await
    }

    /// Wait until the client is gone.
    async fn closed(&self) {
        self.events.closed().await;
    }
}

/// Answer with the events that `write` writes. It is dropped when the client is gone.
pub fn stream<F, W>(write: F) -> Response
where
    F: FnOnce(std::sync::Arc<Writer>) -> W,
    W: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (events, receiver) = channel(BUFFERED);
    let writer = std::sync::Arc::new(Writer { events });
    let written = write(std::sync::Arc::clone(&writer));
    tokio::spawn(async move {
        tokio::select! {
            _ = written => {}
            () = writer.closed() => {}
        }
    });
    let events = Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default());
    ([NO_BUFFERING], events).into_response()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;

    /// Whoever writes waits for a reader that does not read, and ends when it leaves.
    #[test]
    fn an_answer_waits_for_its_reader() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let written = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&written);
            let response = stream(|writer| async move {
                loop {
                    writer.json(&"event").await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(written.load(Ordering::Relaxed), BUFFERED);
            drop(response);
            while Arc::strong_count(&written) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}
