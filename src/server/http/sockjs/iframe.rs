//! The page that old browsers load into a hidden frame, to talk to us from there as a page of ours.
//!
//! It acts for whichever page has framed it, past the check of origins, so it is there only where that lets any page in.

use std::time::SystemTime;

use axum::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::answer::YEAR;
use crate::policy::digest;

/// The page, with its entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Iframe {
    html: Box<str>,
    etag: HeaderValue,
}

impl Iframe {
    /// The page that loads the client library from `client_url`.
    pub(super) fn new(client_url: &str) -> Self {
        let url = client_url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let html = PAGE.replace("{client_url}", &url).into_boxed_str();
        // The same from every worker and instance.
        let etag = HeaderValue::try_from(format!("\"{}\"", digest::of([&*html])));
        let etag = etag.unwrap_or(HeaderValue::from_static("\"1\""));
        Self { html, etag }
    }

    /// Proxies that compress make a tag a weak one.
    fn is(&self, tag: &str) -> bool {
        tag == "*" || self.etag == tag.strip_prefix("W/").unwrap_or(tag)
    }

    /// The page, or that it is still the one which the browser has.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known.flat_map(|value| value.split(',')).any(|tag| self.is(tag.trim()));
        let mut answer = Response::new(Body::empty());
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000"));
        if let Ok(expires) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now() + YEAR)) {
            headers.insert(header::EXPIRES, expires);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
            *answer.body_mut() = Body::from(self.html.to_string());
        }
        answer
    }
}

/// Whether a path below the base is the page's: any version of it.
pub(super) fn is_page(rest: &str) -> bool {
    let version = rest.strip_prefix("/iframe").and_then(|rest| rest.strip_suffix(".html"));
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    version.is_some_and(|version| version.bytes().all(fits))
}

/// Word for word what the newest suite of the protocol demands.
const PAGE: &str = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{client_url}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_version_of_the_page_is_the_page() {
        for page in ["/iframe.html", "/iframe-1.0.html", "/iframe-0.1.2abc-dirty.2144.html", "/iframe_x.html"]
        {
            assert!(is_page(page), "{page}");
        }
        for other in [
            "/iframe",
            "/iframe.htm",
            "/IFRAME.HTML",
            "/iframe.HTML",
            "/iframe.xml",
            "/iframe-/.html",
            "/iframe.html/",
        ] {
            assert!(!is_page(other), "{other}");
        }
    }

    #[test]
    fn a_browser_that_has_the_page_is_told_so() {
        let page = Iframe::new("/a\"><b&c.js");
        assert!(page.html.contains("src=\"/a&quot;>&lt;b&amp;c.js\""), "{}", page.html);
        let mut asked = HeaderMap::new();
        let whole = page.answer(&asked);
        assert_eq!(whole.status(), StatusCode::OK);
        let etag = whole.headers()[header::ETAG].to_str().unwrap();
        asked.insert(header::IF_NONE_MATCH, HeaderValue::try_from(format!("\"x\", {etag}")).unwrap());
        let known = page.answer(&asked);
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert!(!known.headers().contains_key(header::CONTENT_TYPE));
        for (tag, status) in [
            (format!("W/{etag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"x\"".to_owned(), StatusCode::OK),
        ] {
            asked.insert(header::IF_NONE_MATCH, HeaderValue::try_from(tag.clone()).unwrap());
            assert_eq!(page.answer(&asked).status(), status, "{tag}");
        }
    }
}
