//! Which peers may speak for others, and for whom.
//!
//! Behind a load balancer every connection comes from the same address; whose it is only the balancer can say. Anybody
//! can claim that, so it is believed of configured peers alone.

use std::net::IpAddr;

use ipnet::IpNet;

use super::error::PolicyError;

/// The trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    nets: Box<[IpNet]>,
}

impl Proxies {
    /// Takes addresses and nets, `10.0.0.7`, `10.0.0.0/24`, `2001:db8::/64`.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn new<S: AsRef<str>>(trusted: &[S]) -> Result<Self, PolicyError> {
        let nets = trusted.iter().map(|entry| net(entry.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { nets })
    }

    /// Whether what `peer` says of others is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.nets.iter().any(|net| net.contains(&peer))
    }

    /// Who asks `peer` to ask us. `forwarded` are the values of `X-Forwarded-For` in their order, lists between commas; each
    /// proxy puts the address that it was asked by behind what it found. So the list is believed from its right end, as
    /// far as those who wrote it are trusted: whatever the client wrote itself stands further left.
    pub fn client<'v>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'v str>) -> IpAddr {
        let mut client = peer.to_canonical();
        let entries = forwarded.flat_map(|value| value.split(',')).map(str::trim);
        for entry in entries.rev().filter(|entry| !entry.is_empty()) {
            if !self.trusts(client) {
                break;
            }
            // What is no address, such as "unknown", hides who is behind it: then it is the proxy that asks.
            let Some(before) = address(entry) else { break };
            client = before;
        }
        client
    }
}

fn net(entry: &str) -> Result<IpNet, PolicyError> {
    let wrong = |fault| PolicyError::Proxy { entry: entry.to_owned(), fault };
    let net = match entry.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => entry.parse::<IpNet>().map_err(|_| wrong("it is no IP address and no net"))?,
    };
    match net {
        IpNet::V6(v6) if v6.network().to_ipv4_mapped().is_some() => {
            Err(wrong("a net of IPv4 is written as one of IPv4"))
        }
        net => Ok(net),
    }
}

/// An address as proxies write it, some with the port.
fn address(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: Option<IpAddr> = entry.parse().ok().or_else(with_port).or_else(in_brackets);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies(trusted: &[&str]) -> Proxies {
        Proxies::new(trusted).unwrap()
    }

    #[test]
    fn addresses_and_nets_of_both_families_are_trusted_and_no_others() {
        let proxies =
            proxies(&["192.0.2.7", "10.1.0.0/16", "2001:db8::7", "fd00::/8", "::ffff:198.51.100.1"]);
        for peer in
            ["192.0.2.7", "::ffff:192.0.2.7", "10.1.255.255", "2001:db8::7", "fd12::1", "198.51.100.1"]
        {
            assert!(proxies.trusts(ip(peer)), "{peer}");
        }
        for peer in ["192.0.2.8", "10.2.0.0", "2001:db8::8", "fe80::1", "::1", "127.0.0.1", "::a01:1"] {
            assert!(!proxies.trusts(ip(peer)), "{peer}");
        }
        assert!(!Proxies::default().trusts(ip("127.0.0.1")), "nobody is trusted by default");
    }

    #[test]
    fn what_is_no_net_is_named() {
        for entry in ["", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.0/24 ", "::ffff:10.0.0.0/104", "*"] {
            let error = Proxies::new(&["::1", entry]).unwrap_err().to_string();
            assert!(error.contains(&format!("{entry:?}")) && error.contains("10.0.0.0/24"), "{error}");
        }
    }

    #[test]
    fn the_client_is_the_rightmost_who_is_no_proxy() {
        let proxies = proxies(&["10.0.0.0/8", "::1"]);
        let cases: [(&str, &[&str], &str); 15] = [
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7, 10.0.0.2,10.0.0.3"], "192.0.2.7"),
            // The client lies about who it is; the proxy says who asked it.
            ("10.0.0.1", &["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["10.9.9.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7", "10.0.0.2,"], "192.0.2.7"),
            // Nobody asked this one to speak for others.
            ("192.0.2.7", &["203.0.113.9"], "192.0.2.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["192.0.2.7:55123"], "192.0.2.7"),
            ("10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("::1", &["2001:db8::7, [::1]"], "2001:db8::7"),
        ];
        for (peer, forwarded, client) in cases {
            assert_eq!(
                proxies.client(ip(peer), forwarded.iter().copied()),
                ip(client),
                "{peer} {forwarded:?}"
            );
        }
    }
}
