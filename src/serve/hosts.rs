//! The names under which a server without keys answers this machine.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a request is answered, by its header `host`.
///
/// A page of the internet can let its own name stand for 127.0.0.1 and then read answers of a server
/// there, as if they were its own (DNS rebinding). Only names that the internet cannot have are
/// safe from that: addresses, names of one label, and those under `localhost`.
pub enum Hosts {
    /// Keys, or a network, protect the server.
    All,
    /// Safe names, and these.
    Local(Vec<String>),
}

impl Hosts {
    pub fn admit(&self, host: &str) -> bool {
        let Self::Local(others) = self else {
            return true;
        };
        let name = name(host);
        is_safe(name)
            || others
                .iter()
                .any(|other| other.trim_end_matches('.').eq_ignore_ascii_case(name))
    }
}

/// The name of `name:port`.
fn name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.')
}

fn is_safe(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_address = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<IpAddr>().is_ok(),
    };
    is_address || !name.contains('.') || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_and_named_ones_are_admitted() {
        let hosts = Hosts::Local(vec!["Stories.example.org".to_owned()]);
        for (host, admitted) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("192.0.2.7:80", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("localhost:8080", true),
            ("LOCALHOST.", true),
            ("a.localhost:1", true),
            ("mymachine:8080", true),
            ("stories.example.org:8080", true),
            ("stories.example.org.", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("evil.example.:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("x.stories.example.org", false),
            ("notlocalhost.", true),
        ] {
            assert_eq!(hosts.admit(host), admitted, "{host}");
            assert!(Hosts::All.admit(host));
        }
    }
}
