//! Who asks where proxies stand in front: `X-Forwarded-For`, as far as those who wrote it are trusted.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// A proxy whose word on the client's address is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Whoever asks through the Unix socket.
    Unix,
    /// Those of a network, which may be one address.
    Network(IpNet),
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network
            .map(Self::Network)
            .ok_or_else(|| "write an address, a network such as 10.0.0.0/8, or unix".into())
    }
}

/// The address of the client behind `peer`; `None` for one of this machine behind a Unix socket.
///
/// Each proxy adds the address that asked it at the end of the list. So it is read from there, as long as proxies that are
/// trusted wrote it: what a client made up stands before that.
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[TrustedProxy]) -> Option<IpAddr> {
    let is_trusted = |peer: Option<IpAddr>| {
        trusted.iter().any(|proxy| match (proxy, peer) {
            (TrustedProxy::Unix, None) => true,
            (TrustedProxy::Network(network), Some(address)) => network.contains(&address),
            _ => false,
        })
    };
    let lists = headers.get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
    let lists: Vec<&str> = lists.collect();
    let mut written = lists.iter().rev().flat_map(|list| list.rsplit(',')).map(address);
    let mut client = peer;
    while is_trusted(client)
        && let Some(Some(before)) = written.next()
    {
        client = Some(before);
    }
    client
}

/// An address as proxies write it: some with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    with_port().or_else(bare).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lists: &[&str], trusted: &[&str]) -> String {
        let peer = peer.parse().ok();
        let headers = lists.iter().map(|list| ("x-forwarded-for".parse().unwrap(), list.parse().unwrap()));
        let trusted: Vec<TrustedProxy> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let found = client_address(peer, &headers.collect(), &trusted);
        found.map_or("unix".into(), |address| address.to_string())
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        assert_eq!(client("10.0.0.9", &["1.2.3.4"], &[]), "10.0.0.9");
        assert_eq!(client("10.0.0.9", &["1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(client("10.0.0.9", &[], &["10.0.0.0/8"]), "10.0.0.9");
        // Made up by the client, then two proxies of ours.
        assert_eq!(client("10.0.0.9", &["6.6.6.6, 1.2.3.4, 10.1.1.1"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(client("10.0.0.9", &["6.6.6.6", "1.2.3.4"], &["10.0.0.9"]), "1.2.3.4");
        assert_eq!(client("10.0.0.9", &["1.2.3.4, nonsense"], &["10.0.0.0/8"]), "10.0.0.9");
        assert_eq!(client("unix", &["1.2.3.4:5678"], &["unix"]), "1.2.3.4");
        assert_eq!(client("unix", &["1.2.3.4"], &["0.0.0.0/0"]), "unix");
        assert_eq!(client("::1", &["[2001:db8::1]:80"], &["::1"]), "2001:db8::1");
        assert_eq!(client("::1", &["::ffff:1.2.3.4"], &["::/0"]), "1.2.3.4");
    }

    #[test]
    fn a_proxy_is_an_address_a_network_or_the_socket() {
        for good in ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "unix", " 10.0.0.1 "] {
            assert!(good.parse::<TrustedProxy>().is_ok(), "{good}");
        }
        for bad in ["", "proxy", "10.0.0.0/33", "*"] {
            assert!(bad.parse::<TrustedProxy>().is_err(), "{bad}");
        }
    }
}
