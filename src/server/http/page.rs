//! The page's files, from inside the binary.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::api;

/// Whatever has been built; a binary without it still serves everything else.
#[derive(RustEmbed)]
#[folder = "web/dist/"]
#[allow_missing = true]
struct Built;

/// One file.
struct File {
    bytes: Cow<'static, [u8]>,
    sha256: [u8; 32],
}

/// Answers a request that no route took.
pub(super) async fn answer(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    respond(&method, uri.path(), headers.get(header::IF_NONE_MATCH), |name| {
        find(name).filter(|_| !name.starts_with(CONSOLE))
    })
}

/// The page of the console, or one of its files.
pub(super) fn console(path: &str, known: Option<&HeaderValue>) -> Response {
    let page = Some("index.html").filter(|_| path == "/");
    respond(&Method::GET, path, known, |name| {
        find(&page.map_or(name.into(), |page| format!("{CONSOLE}{page}")))
    })
}

fn find(name: &str) -> Option<File> {
    // No file has one in its name, and to some systems it leads into another directory.
    if name.contains('\\') {
        return None;
    }
    Built::get(name).map(|file| File { sha256: file.metadata.sha256_hash(), bytes: file.data })
}

fn respond(
    method: &Method,
    path: &str,
    known: Option<&HeaderValue>,
    find: impl Fn(&str) -> Option<File>,
) -> Response {
    let name = match path {
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return api::unknown_path();
    }
    match find(name) {
        Some(file) => serve(name, file, known),
        None if path == "/" => (StatusCode::NOT_FOUND, UNBUILT).into_response(),
        None => api::unknown_path(),
    }
}

fn serve(name: &str, file: File, known: Option<&HeaderValue>) -> Response {
    let etag = etag(&file.sha256);
    let cache = if is_named_by_content(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let fresh = known.and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known
            .split(',')
            .map(|each| each.trim().trim_start_matches("W/"))
            .any(|each| each == "*" || each == etag)
    });
    let headers = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, cache)];
    if fresh {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, content_type(name))], Body::from(file.bytes.into_owned()))
        .into_response()
}

/// 128 of the 256 bits tell versions apart.
fn etag(sha256: &[u8; 32]) -> String {
    let (first, _) = sha256.split_at(16);
    let value = first.iter().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
    format!("\"{value:032x}\"")
}

/// `main-2ZVU5FDZ.js`: another content has another name, so it may be kept for ever.
fn is_named_by_content(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
    hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Where the console's files are; the public port has none of them.
const CONSOLE: &str = "console/";

const UNBUILT: &str = "The page was not built into this binary.\n\n\
    Build it with `make page` (or `npm ci && npm run build` in web/), then build the broker again.\n\
    Everything else works: WebSocket at /ws, /healthz, /readyz, /api/v1/info.\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(_: &str) -> Option<File> {
        Some(File { bytes: b"x".as_slice().into(), sha256: [0xab; 32] })
    }

    fn get(path: &str, known: Option<&str>) -> Response {
        let known = known.map(|known| HeaderValue::from_str(known).unwrap());
        respond(&Method::GET, path, known.as_ref(), file)
    }

    #[test]
    fn without_built_files_the_page_says_how_to_build_them() {
        let response = respond(&Method::GET, "/", None, |_| None);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let command = UNBUILT.split('`').find_map(|quoted| quoted.strip_prefix("make ")).unwrap();
        let makefile = include_str!("../../../Makefile");
        let mut rules = makefile.lines().filter_map(|line| line.split_once(':'));
        assert!(rules.any(|(target, _)| target == command), "the Makefile has no target {command}");
    }

    #[test]
    fn only_files_named_by_their_content_are_kept_for_ever() {
        for (path, kept) in [
            ("/main-2ZVU5FDZ.js", true),
            ("/", false),
            ("/index.html", false),
            ("/main-latest12.js", false),
            ("/favicon.ico", false),
        ] {
            let cache = get(path, None).headers()[header::CACHE_CONTROL].clone();
            assert_eq!(cache.to_str().unwrap().contains("immutable"), kept, "{path}");
        }
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        let etag = get("/", None).headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
            assert_eq!(get("/", Some(&known)).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(get("/", Some("\"x\"")).status(), StatusCode::OK);
    }
}
