//! Where other instances reach this one.

use std::net::{SocketAddr, UdpSocket};

use super::config::Config;

/// Its address for them, see [`address`]; the log says where that is of no use beyond this machine and nobody has named it.
pub(super) fn told(config: &Config, http: SocketAddr) -> Option<String> {
    let address = address(config, http)?;
    if config.redis.node_address.is_none() && is_this_machine(&address) {
        tracing::warn!(
            %address,
            "instances on other machines cannot ask this one for its SockJS sessions: set redis.node_address"
        );
    }
    Some(address)
}

fn is_this_machine(address: &str) -> bool {
    address.parse().is_ok_and(|address: SocketAddr| address.ip().to_canonical().is_loopback())
}

/// Its address for them: as configured, else where it listens, else where it stands as Redis sees it. Nothing where they could
/// not talk to it: an encrypted port is one that they have no certificates for.
fn address(config: &Config, http: SocketAddr) -> Option<String> {
    if let Some(configured) = &config.redis.node_address {
        return Some(configured.clone());
    }
    let server = config.redis.options().ok()??.server();
    if config.tls.is_on() {
        return None;
    }
    if !http.ip().is_unspecified() {
        return Some(http.to_string());
    }
    // Nothing is sent: the system is asked from which address it would be.
    let (any, port) = (SocketAddr::new(http.ip(), 0), http.port());
    let socket = UdpSocket::bind(any).or_else(|_| UdpSocket::bind("0.0.0.0:0")).ok()?;
    socket.connect(server).ok()?;
    Some(SocketAddr::new(socket.local_addr().ok()?.ip().to_canonical(), port).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(config: serde_json::Value, http: &str) -> Option<String> {
        address(&serde_json::from_value(config).unwrap(), http.parse().unwrap())
    }

    #[test]
    fn an_address_of_this_machine_is_told_from_others() {
        for (address, is_here) in [
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.2]:80", true),
            ("10.0.0.7:80", false),
            ("a.internal:80", false),
        ] {
            assert_eq!(is_this_machine(address), is_here, "{address}");
        }
    }

    #[test]
    fn others_are_told_what_they_can_reach() {
        let redis = json!({"url": "redis://127.0.0.1:6379"});
        assert_eq!(of(json!({}), "0.0.0.0:80"), None, "there are no others");
        let of_redis = |more: serde_json::Value, http| {
            let mut config = json!({"redis": redis});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(config, http)
        };
        assert_eq!(of_redis(json!({}), "10.0.0.7:80").as_deref(), Some("10.0.0.7:80"));
        for any in ["0.0.0.0:80", "[::]:80"] {
            assert_eq!(of_redis(json!({}), any).as_deref(), Some("127.0.0.1:80"), "as Redis is here");
        }
        assert_eq!(of_redis(json!({"tls": {"self_signed": true}}), "10.0.0.7:80"), None);
        let named = json!({"redis": {"url": "redis://127.0.0.1", "node_address": "a.internal:81"}});
        assert_eq!(of(named, "0.0.0.0:80").as_deref(), Some("a.internal:81"));
    }
}
