//! A backend of the test's own.

use std::future::pending;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use stompede::policy::Secret;
use stompede::policy::signature::Signer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is answered.
#[derive(Clone)]
pub(crate) enum Says {
    Json(Value),
    Text(&'static str),
    Status(u16),
    Redirect(String),
    /// So many bytes of JSON.
    Large(usize),
    /// Half an answer, and the end.
    Half,
    /// Nothing, ever.
    Silence,
}

type Answers = Box<dyn FnMut(&Value) -> Says + Send>;

/// A server that answers hooks.
pub(crate) struct Backend {
    pub(crate) url: String,
    state: Arc<Known>,
    server: JoinHandle<()>,
}

struct Known {
    answers: Mutex<Answers>,
    asked: Mutex<Vec<Value>>,
    signed: Mutex<Option<Signed>>,
}

/// The last request as it came.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

impl Backend {
    pub(crate) async fn start(answers: impl FnMut(&Value) -> Says + Send + 'static) -> Self {
        let state = Arc::new(Known {
            answers: Mutex::new(Box::new(answers)),
            asked: Mutex::default(),
            signed: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, server }
    }

    /// `[[hook]]` that leads here.
    pub(crate) fn hook(&self, mut more: Value) -> Value {
        for (key, value) in [("name", "test"), ("url", &self.url), ("secret", SECRET)] {
            more[key] = json!(value);
        }
        more
    }

    /// From now on it answers otherwise.
    pub(crate) fn answers(&self, answers: impl FnMut(&Value) -> Says + Send + 'static) {
        *self.state.answers.lock() = Box::new(answers);
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.state.asked.lock().clone()
    }

    pub(crate) fn signed(&self) -> Signed {
        self.state.signed.lock().clone().expect("a request")
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What a backend expects, if it knows the secret.
pub(crate) fn signature(timestamp: &str, body: &[u8]) -> String {
    Signer::new(&Secret::new(SECRET)).sign(timestamp.parse().unwrap(), body)
}

async fn answer(State(known): State<Arc<Known>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let signed = Signed {
        timestamp: header("stompede-timestamp"),
        signature: header("stompede-signature"),
        content_type: header("content-type"),
        body: body.clone(),
    };
    *known.signed.lock() = Some(signed);
    let asked: Value = serde_json::from_slice(&body).unwrap();
    known.asked.lock().push(asked.clone());
    let says = (known.answers.lock())(&asked);
    let response = Response::builder();
    match says {
        Says::Json(value) => response.body(value.to_string().into()).unwrap(),
        Says::Text(text) => response.body(text.into()).unwrap(),
        Says::Status(status) => response.status(status).body("{\"allow\":true}".into()).unwrap(),
        Says::Redirect(to) => response.status(307).header("location", to).body(Body::empty()).unwrap(),
        Says::Large(bytes) => {
            let text = format!("{{\"allow\":true,\"body\":\"{}\"}}", "x".repeat(bytes));
            response.body(text.into()).unwrap()
        }
        Says::Half => {
            let parts = [Ok("{\"allow\":"), Err(std::io::Error::other("gone"))];
            response.body(Body::from_stream(futures_util::stream::iter(parts))).unwrap()
        }
        Says::Silence => pending().await,
    }
}

pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";
