//! What the head of a request says about its body.

use axum::http::{
    HeaderMap, HeaderName, Version,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};

use super::error::ApiError;

/// The media type whose charset counts.
pub const JSON: &str = "application/json";

/// Headers of which a request has one. Programs differ in which of several they read.
const SINGLE: [HeaderName; 3] = [HOST, AUTHORIZATION, CONTENT_TYPE];

/// Refuse a head that programs may read in different ways, one without `host`, and transfer codings
/// other than chunked.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    if version == Version::HTTP_11 && !headers.contains_key(HOST) {
        return Err(ApiError::bad_head());
    }
    for name in &SINGLE {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            return Err(ApiError::repeated_header(name.as_str()));
        }
    }
    let codings: Vec<String> = elements(headers, &TRANSFER_ENCODING).collect();
    match (
        codings.iter().all(|coding| coding == "chunked"),
        codings.len(),
    ) {
        (false, _) => Err(ApiError::transfer_coding()),
        (true, 0 | 1) => Ok(()),
        (true, _) => Err(ApiError::bad_head()),
    }
}

/// Refuse a body that is not said to be of this media type, or is compressed.
pub fn check_body(headers: &HeaderMap, media_type: &str) -> Result<(), ApiError> {
    let found = headers.get(CONTENT_TYPE);
    let found = found.and_then(|value| value.to_str().ok());
    let mut parts = found.unwrap_or_default().split(';').map(str::trim);
    if !parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(media_type))
    {
        return Err(ApiError::media_type(media_type));
    }
    let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
    let is_other = |(name, value): (&str, &str)| {
        name.eq_ignore_ascii_case("charset") && !is_utf8(value.trim_matches('"'))
    };
    if media_type == JSON && parameters.any(is_other) {
        return Err(ApiError::charset());
    }
    match elements(headers, &CONTENT_ENCODING).all(|coding| coding == "identity") {
        true => Ok(()),
        false => Err(ApiError::content_encoding()),
    }
}

/// Whether each text of a charset is the same in UTF-8.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].contains(&charset.to_ascii_lowercase().as_str())
}

/// The elements of a header that is a list, in lower case. One that is no text is an element too.
fn elements(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    texts.flat_map(|text| {
        let elements = text.split(',').map(|element| element.trim().to_owned());
        elements
            .filter(|element| !element.is_empty())
            .collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, StatusCode};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn heads_of_two_meanings_are_refused() {
        const TE: &str = "transfer-encoding";
        for (fields, status) in [
            (&[][..], None),
            (&[(TE, "chunked")], None),
            (&[(TE, " Chunked ,")], None),
            (&[(TE, "gzip, chunked")], Some(501)),
            (&[(TE, "gzip"), (TE, "chunked")], Some(501)),
            (&[(TE, "identity, chunked")], Some(501)),
            (&[(TE, "chunked;q=1")], Some(501)),
            (&[(TE, "chunked, chunked")], Some(400)),
            (&[(TE, "chunked"), (TE, "chunked")], Some(400)),
            (&[("content-type", "a/b"), ("content-type", "a/b")], None),
            (
                &[("content-type", "a/b"), ("content-type", "a/c")],
                Some(400),
            ),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                Some(400),
            ),
            (&[("host", "a"), ("host", "b")], Some(400)),
            (&[("accept", "a/b"), ("accept", "a/c")], None),
        ] {
            let refused = check(Version::HTTP_10, &headers(fields))
                .err()
                .map(|error| error.status());
            let expected = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(refused, expected, "{fields:?}");
        }
    }

    #[test]
    fn a_host_is_needed_from_http_1_1_on() {
        let with = headers(&[("host", "")]);
        assert!(check(Version::HTTP_11, &with).is_ok());
        assert!(check(Version::HTTP_11, &HeaderMap::new()).is_err());
        assert!(check(Version::HTTP_10, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_body_is_of_its_type_and_in_utf8() {
        const TYPE: &str = "content-type";
        for (fields, taken) in [
            (&[(TYPE, "application/json")][..], true),
            (&[(TYPE, "Application/JSON ; Charset=\"UTF-8\"")], true),
            (&[(TYPE, "application/json;charset=utf8; x=y")], true),
            (&[(TYPE, "application/json; charset=us-ascii")], true),
            (&[(TYPE, "application/json; x=utf-16")], true),
            (&[(TYPE, "application/json; charset=utf-16")], false),
            (&[(TYPE, "application/json; x=y; charset=latin1")], false),
            (&[(TYPE, "application/json; charset=")], false),
            (&[(TYPE, "application/jsonl")], false),
            (&[(TYPE, "text/plain, application/json")], false),
            (&[], false),
            (&[(TYPE, JSON), ("content-encoding", "identity")], true),
            (
                &[(TYPE, JSON), ("content-encoding", "identity, gzip")],
                false,
            ),
            (
                &[
                    (TYPE, JSON),
                    ("content-encoding", "identity"),
                    ("content-encoding", "br"),
                ],
                false,
            ),
        ] {
            assert_eq!(
                check_body(&headers(fields), JSON).is_ok(),
                taken,
                "{fields:?}"
            );
        }
        let octets = "application/octet-stream";
        assert!(check_body(&headers(&[(TYPE, "application/octet-stream; a=b")]), octets).is_ok());
        assert!(check_body(&headers(&[(TYPE, JSON)]), octets).is_err());
    }
}
