//! The console of operators: its page, and who may see it.
//!
//! Nobody logs in on this port, and here are names of people and an order that ends sessions. So it is for a browser on this
//! machine that somebody has opened at an address of this machine:
//!
//! - the other end of the connection is this machine, wherever the port listens, and no proxy there speaks for others;
//! - `Host` is an address or `localhost`: the name of a page elsewhere can be made to lead here (DNS rebinding);
//! - an order comes from the page itself: it has a header that no form and no page of another origin can send without being
//!   asked for leave, which is never given (CSRF), and where a browser says whose page asks it is ours.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use super::Status;
use super::api::{Api, console_routes, forbidden};
use super::page;
use crate::policy::origin::has_fixed_host;

/// The other end of a connection to the port for operators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator(pub(super) SocketAddr);

/// The page, what it asks, and what it orders.
pub(super) fn routes(api: Weak<Api>, status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/", get(file))
        .route("/console/{file}", get(file))
        .merge(console_routes(api, status))
        .layer(from_fn(guard))
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    page::console(uri.path(), headers.get(header::IF_NONE_MATCH))
}

async fn guard(request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<Operator>().map(|operator| operator.0);
    if let Err(why) = may(remote, request.method(), request.headers()) {
        return forbidden(why);
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn may(remote: Option<SocketAddr>, method: &Method, headers: &HeaderMap) -> Result<(), &'static str> {
    if !remote.is_some_and(|remote| remote.ip().to_canonical().is_loopback()) {
        return Err(ELSEWHERE);
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(has_fixed_host) {
        return Err(NAMED);
    }
    if FORWARDED.iter().any(|name| headers.contains_key(name)) {
        return Err(ELSEWHERE);
    }
    let foreign_site = headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none");
    let is_link = *method == Method::GET && headers.get(MODE).is_some_and(|mode| mode == "navigate");
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let foreign_origin = origin.is_some_and(|origin| origin.strip_prefix("http://") != host);
    if foreign_origin || foreign_site && !is_link {
        return Err(FOREIGN);
    }
    if !matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(ORDER) {
        return Err(UNASKED);
    }
    Ok(())
}

/// What the page puts on its orders. A browser asks for leave before it lets a page of another origin send it.
const ORDER: HeaderName = HeaderName::from_static("x-stompede-console");

/// Where a browser says whose page asks.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// And whether it is to show what it gets.
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a proxy on this machine adds, behind which anybody may be.
const FORWARDED: [HeaderName; 3] =
    [HeaderName::from_static("x-forwarded-for"), header::FORWARDED, header::VIA];

/// Nothing but our own files, and no frame around them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const ELSEWHERE: &str =
    "the console is for a browser on this machine: ssh -L 9080:127.0.0.1:9080 brings one here";
const NAMED: &str = "the console is opened by an address or as localhost, not by a name";
const FOREIGN: &str = "the console takes orders of its own page alone";
const UNASKED: &str = "an order has the header X-Stompede-Console";

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(remote: &str, method: &Method, headers: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        may(Some(remote.parse().unwrap()), method, &map)
    }

    const HERE: &str = "127.0.0.1:50000";
    const HOST: (&str, &str) = ("host", "127.0.0.1:9080");

    #[test]
    fn only_a_browser_on_this_machine_is_served() {
        for here in [HERE, "[::1]:50000", "[::ffff:127.0.0.1]:50000"] {
            assert_eq!(judged(here, &Method::GET, &[HOST]), Ok(()), "{here}");
        }
        for elsewhere in ["10.0.0.7:50000", "[2001:db8::1]:50000", "0.0.0.0:1"] {
            assert_eq!(judged(elsewhere, &Method::GET, &[HOST]), Err(ELSEWHERE), "{elsewhere}");
        }
        for name in FORWARDED {
            let passed_on = [HOST, (name.as_str(), "10.0.0.7")];
            assert_eq!(judged(HERE, &Method::GET, &passed_on), Err(ELSEWHERE), "{name}");
        }
        assert_eq!(may(None, &Method::GET, &HeaderMap::new()), Err(ELSEWHERE));
    }

    #[test]
    fn a_name_does_not_lead_here() {
        for host in ["127.0.0.1:9080", "localhost:9080", "[::1]:9080", "LOCALHOST"] {
            assert_eq!(judged(HERE, &Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example:9080", "localhost.evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:x"]
        {
            assert_eq!(judged(HERE, &Method::GET, &[("host", host)]), Err(NAMED), "{host}");
        }
        assert_eq!(judged(HERE, &Method::GET, &[]), Err(NAMED));
    }

    #[test]
    fn orders_come_from_the_page_itself() {
        let order = ("x-stompede-console", "1");
        let own = [HOST, order, ("origin", "http://127.0.0.1:9080"), ("sec-fetch-site", "same-origin")];
        assert_eq!(judged(HERE, &Method::POST, &own), Ok(()));
        assert_eq!(judged(HERE, &Method::POST, &[HOST, order]), Ok(()), "curl says neither");
        assert_eq!(judged(HERE, &Method::POST, &[HOST]), Err(UNASKED));
        let foreign: [&[(&str, &str)]; 5] = [
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://127.0.0.1:9080")],
            &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
        ];
        for says in foreign {
            let headers: Vec<_> = [HOST, order].iter().chain(says).copied().collect();
            assert_eq!(judged(HERE, &Method::POST, &headers), Err(FOREIGN), "{says:?}");
        }
        let link = [HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(judged(HERE, &Method::GET, &link), Ok(()), "a link leads here");
        assert_eq!(judged(HERE, &Method::POST, &link), Err(FOREIGN));
        let image = [HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
        assert_eq!(judged(HERE, &Method::GET, &image), Err(FOREIGN));
    }
}
