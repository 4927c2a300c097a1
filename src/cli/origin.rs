//! Origins of web pages, and host names.

/// What an origin is, for a message.
const FORM: &str = "an origin is scheme://host or scheme://host:port, such as https://example.org";

/// An origin as browsers send it: in lower case, without the port that its scheme has by default.
pub fn origin(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    let (scheme, place) = text.split_once("://").ok_or(FORM)?;
    if let Some(end) = place.find(['/', '?', '#']) {
        return Err(format!("{FORM}: remove {:?} at its end", &place[end..]));
    }
    let (host, port) = match place.rsplit_once(':') {
        // A colon within brackets belongs to the address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let port = port.map(str::parse::<u16>).transpose();
    let port = port.map_err(|_| format!("{FORM}, and a port is a number up to 65535"))?;
    if !is_scheme(scheme) || !is_host(host) {
        return Err(FORM.into());
    }
    Ok(match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

/// A host name without scheme and port.
pub fn host_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match is_host(name) {
        true => Ok(name.to_owned()),
        false => Err("a host name is without scheme, port and path, such as example.org".into()),
    }
}

fn is_scheme(text: &str) -> bool {
    let others = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(others)
}

/// Whether it is a name in ASCII, as browsers send all names, or an address.
fn is_host(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let address = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.chars().all(of_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (text, expected) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG:443", "https://example.org"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://example.org:80", "https://example.org:80"),
            ("http://[::1]", "http://[::1]"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://192.0.2.7:1", "http://192.0.2.7:1"),
            (
                " https://a_b.xn--bcher-kva.example ",
                "https://a_b.xn--bcher-kva.example",
            ),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_host_name_is_a_name_alone() {
        assert_eq!(host_name(" example.org ").as_deref(), Ok("example.org"));
        for text in ["", "example.org:80", "http://example.org", "example.org/"] {
            assert!(host_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "nope",
            "*",
            "null",
            "",
            "example.org",
            "//example.org",
            "://example.org",
            "https://",
            "https://:80",
            "https:/example.org",
            "https://example.org/",
            "https://example.org/page",
            "https://example.org?x",
            "https://example.org#x",
            "https://user@example.org",
            "https://*.example.org",
            "https://example.org:",
            "https://example.org:port",
            "https://example.org:65536",
            "https://bücher.example",
            "https://exa mple.org",
            "https://[::1",
            "https://[::x]",
            "https://::1",
            "1http://example.org",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
