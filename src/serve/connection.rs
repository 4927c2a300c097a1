//! Errors that the HTTP library answers by itself, in the form of all others.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::error::ApiError;

/// A connection. A request whose head cannot be read never comes to a handler: `hyper` refuses it
/// without a body, which is added here.
pub struct Connection<T> {
    io: T,
    /// An answer that is not written yet.
    rest: Vec<u8>,
}

impl<T: Write + Unpin> Connection<T> {
    pub fn new(io: T) -> Self {
        Self {
            io,
            rest: Vec::new(),
        }
    }

    /// Write what is not written yet.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.rest.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The answer in place of one that has no body; `None` for all others, which are the handlers'.
fn with_body(answer: &[u8]) -> Option<Vec<u8>> {
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let error = match status {
        b"400" => ApiError::bad_head(),
        b"414" => ApiError::long_url(),
        b"431" => ApiError::long_head(),
        _ => return None,
    };
    let head = std::str::from_utf8(answer).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    let empty = |line: &&str| line.eq_ignore_ascii_case("content-length: 0");
    let length = lines.iter().position(empty)?;
    lines.remove(length);
    let body = serde_json::to_string(&error.body()).ok()?;
    let head = lines.join("\r\n");
    let own = format!(
        "{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Some(own.into_bytes())
}

impl<T: Read + Unpin> Read for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for Connection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        let first = bufs.iter().find(|buf| !buf.is_empty());
        if let Some(first) = first
            && let Some(answer) = with_body(first)
        {
            self.rest = answer;
            return Poll::Ready(Ok(first.len()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
