//! Error responses of the HTTP library, rewritten to the format of all others.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::ApiError;

/// Bytes of a head that are looked at.
const KEPT_BYTES: usize = 8 << 10;
/// Largest length of a body that `hyper` takes.
const MAX_LENGTH: u64 = u64::MAX - 2;

/// A connection. A request whose head cannot be read never comes to a handler: `hyper` refuses it
/// without a body, which is added here.
pub struct Connection<T> {
    io: T,
    /// The first bytes that came after the last answer.
    head: Vec<u8>,
    /// An answer that is not written yet.
    rest: Vec<u8>,
}

impl<T: AsyncWrite + Unpin> Connection<T> {
    pub fn new(io: T) -> Self {
        Self {
            io,
            head: Vec::new(),
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
fn with_body(answer: &[u8], request: &[u8]) -> Option<Vec<u8>> {
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let error = match status {
        b"400" | b"431" if is_endless(request) => ApiError::endless(),
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
    let line = format!("HTTP/1.1 {}", error.status());
    *lines.first_mut()? = &line;
    let head = lines.join("\r\n");
    let own = format!(
        "{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Some(own.into_bytes())
}

/// Whether the head of a request has a length that is a number, but one that `hyper` does not take.
fn is_endless(request: &[u8]) -> bool {
    let lines = request.split(|&byte| byte == b'\n').skip(1);
    let mut lines = lines.take_while(|line| !line.trim_ascii().is_empty());
    lines.any(|line| {
        let Some((name, value)) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(':'))
        else {
            return false;
        };
        let digits = value.trim();
        name.eq_ignore_ascii_case("content-length")
            && !digits.is_empty()
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && digits
                .parse()
                .ok()
                .is_none_or(|length: u64| length > MAX_LENGTH)
    })
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        let kept = new.len().min(KEPT_BYTES - self.head.len());
        self.head.extend_from_slice(&new[..kept]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
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
            && let Some(answer) = with_body(first, &self.head)
        {
            self.rest = answer;
            return Poll::Ready(Ok(first.len()));
        }
        self.head.clear();
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
