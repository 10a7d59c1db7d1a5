//! An issuer of tokens that publishes its keys over HTTP, and does so well or badly.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use rcgen::{KeyPair, RsaKeySize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A key that signs, and how it is published.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) signs: EncodingKey,
    pub(super) published: Value,
    kid: String,
}

impl Key {
    pub(super) fn rsa(kid: &str) -> Self {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let signs = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::of(kid, signs, Algorithm::RS256)
    }

    pub(super) fn p256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signs = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::of(kid, signs, Algorithm::ES256)
    }

    fn of(kid: &str, signs: EncodingKey, algorithm: Algorithm) -> Self {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut published = serde_json::to_value(Jwk::from_encoding_key(&signs, algorithm).unwrap()).unwrap();
        published["kid"] = kid.into();
        published["use"] = "sig".into();
        Self { algorithm, signs, published, kid: kid.to_owned() }
    }

    /// A token of `user` that is good where this key is known.
    pub(super) fn token(&self, user: &str) -> String {
        self.sign(&claims(user), Some(&self.kid))
    }

    pub(super) fn sign(&self, claims: &Value, kid: Option<&str>) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.signs).unwrap()
    }
}

pub(super) fn claims(user: &str) -> Value {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({"iss": ISSUER, "aud": "stompede", "sub": user, "iat": now_s, "exp": now_s + 3_600})
}

/// What is answered.
#[derive(Clone)]
pub(super) enum Serves {
    Bytes(Vec<u8>),
    Status(u16),
    Redirect(String),
    /// Nothing, ever.
    Silence,
}

impl Serves {
    pub(super) fn keys(keys: &[&Key]) -> Self {
        Self::json(&json!({"keys": keys.iter().map(|key| key.published.clone()).collect::<Vec<_>>()}))
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::Bytes(value.to_string().into_bytes())
    }
}

/// A server of keys.
pub(super) struct Issuer {
    pub(super) url: String,
    served: Arc<Served>,
    server: JoinHandle<()>,
}

struct Served {
    what: Mutex<Serves>,
    asked: AtomicUsize,
}

impl Issuer {
    pub(super) async fn start(what: Serves) -> Self {
        let served = Arc::new(Served { what: Mutex::new(what), asked: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&served));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, served, server }
    }

    pub(super) fn serve(&self, what: Serves) {
        *self.served.what.lock() = what;
    }

    /// Requests so far.
    pub(super) fn asked(&self) -> usize {
        self.served.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(served): State<Arc<Served>>) -> Response<Body> {
    served.asked.fetch_add(1, Ordering::SeqCst);
    let what = served.what.lock().clone();
    let response = Response::builder();
    match what {
        Serves::Bytes(bytes) => response.body(bytes.into()).unwrap(),
        Serves::Status(status) => response.status(status).body(Body::empty()).unwrap(),
        Serves::Redirect(to) => response.status(302).header("location", to).body(Body::empty()).unwrap(),
        Serves::Silence => pending().await,
    }
}

/// `iss` of its tokens.
pub(super) const ISSUER: &str = "https://login.example.com/realms/shop";
