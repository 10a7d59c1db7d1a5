//! The description of the API: OpenAPI 3.1, written from the code.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{batch, people, presence, publish, queues, rooms, users};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "stompede", description = "Publish and ask without a STOMP session. Errors are problem documents (RFC 9457)."),
    paths(
        publish::publish, batch::broadcast, batch::batch,
        users::message, users::broadcast, people::user, people::disconnect,
        presence::users, presence::count,
        rooms::list, rooms::members, rooms::enrol, rooms::remove, rooms::messages, rooms::say,
        queues::list, queues::one, queues::purge, queues::redrive,
        info,
    ),
    tags(
        (name = "publish", description = "Send messages"),
        (name = "users", description = "Users and their queues"),
        (name = "presence", description = "Who is online"),
        (name = "rooms", description = "Chat rooms"),
        (name = "queues", description = "Work queues"),
    ),
    security(("key" = [])),
    modifiers(&Security, &LargeHeads),
)]
struct Description;

/// Ask about this instance
///
/// Version, store, uptime and counts; needs no credential.
#[utoipa::path(
    get, path = "/api/v1/info", tag = "info", operation_id = "info", security(()),
    responses((status = 200, body = Object)),
)]
#[expect(dead_code, reason = "the router of every HTTP face answers it")]
fn info() {}

/// How callers show who they are.
struct Security;

impl Modify for Security {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key, the token of a service, or, for rooms, a user's own token"))
            .build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// What is answered before anybody reads the request.
struct LargeHeads;

impl Modify for LargeHeads {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let text = "The request line and the headers have more than 16 KiB; there is no body";
        for item in description.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let response = ResponseBuilder::new().description(text).build();
                operation.responses.responses.insert("431".to_owned(), response.into());
            }
        }
    }
}

/// `GET /api/openapi.json`.
pub(super) async fn document() -> Response {
    static TEXT: LazyLock<Bytes> =
        LazyLock::new(|| Description::openapi().to_json().unwrap_or_default().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone()).into_response()
}
