use serde_json::json;

use super::*;
use crate::policy::jwt::install_provider;

/// 256 bytes of a modulus, and points of curves that are some: what is judged here is the form.
fn rsa(more: Value) -> Value {
    with(json!({"kty": "RSA", "n": format!("u{}", "A".repeat(341)), "e": "AQAB"}), more)
}

fn p256(more: Value) -> Value {
    let (x, y) =
        ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    with(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), more)
}

fn with(mut key: Value, more: Value) -> Value {
    let Value::Object(more) = more else { unreachable!("more fields") };
    key.as_object_mut().unwrap().extend(more);
    key
}

fn parse(keys: &[Value]) -> Result<KeySet, JwksError> {
    install_provider();
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
}

#[test]
fn only_what_can_verify_and_is_meant_to_is_a_key() {
    let good = [
        rsa(json!({})),
        rsa(json!({"alg": "PS384", "use": "sig", "key_ops": ["verify"], "x5c": ["MII"], "kid": "1"})),
        p256(json!({"alg": "ES256"})),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    ];
    for key in good {
        assert_eq!(parse(std::slice::from_ref(&key)).unwrap().0.len(), 1, "{key}");
    }
    let bad = [
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T", "alg": "HS256"}),
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T", "alg": "RS256"}),
        rsa(json!({"alg": "HS256"})),
        rsa(json!({"alg": "ES256"})),
        rsa(json!({"alg": "RSA-OAEP", "use": "enc"})),
        rsa(json!({"use": "enc"})),
        rsa(json!({"key_ops": ["encrypt"]})),
        rsa(json!({"n": "AQAB"})),
        rsa(json!({"n": 7})),
        p256(json!({"crv": "P-384"})),
        p256(json!({"crv": "secp256k1"})),
        p256(json!({"x": ""})),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "new"}),
        json!(["kty"]),
        json!(null),
    ];
    for key in &bad {
        assert_eq!(parse(std::slice::from_ref(key)).unwrap_err(), JwksError::NoKey(1), "{key}");
    }
    let beside: Vec<Value> = bad.into_iter().chain([p256(json!({}))]).collect();
    assert_eq!(parse(&beside).unwrap().0.len(), 1);
}

#[test]
fn what_is_no_set_of_keys_is_refused_as_a_whole() {
    for text in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]", "\u{0}", "null"] {
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), JwksError::NoSet, "{text}");
    }
    assert_eq!(KeySet::parse(b"{\"keys\":[]}").unwrap_err(), JwksError::NoKey(0));
    assert_eq!(parse(&vec![p256(json!({})); KEYS_MAX + 1]).unwrap_err(), JwksError::TooMany(KEYS_MAX + 1));
    assert!(parse(&vec![p256(json!({})); KEYS_MAX]).is_ok());
}

#[test]
fn a_key_is_chosen_by_its_name_and_for_its_algorithm() {
    use Algorithm::{ES256, RS256, RS384};
    let set = parse(&[
        rsa(json!({"kid": "a", "alg": "RS256"})),
        rsa(json!({"kid": "b"})),
        p256(json!({"kid": "a"})),
    ]);
    let set = set.unwrap();
    let kid_of = |kid, algorithm| match set.select(kid, algorithm) {
        Selected::Key(key) => Ok(key.kid.as_deref()),
        other => Err(format!("{other:?}")),
    };
    assert_eq!(kid_of(Some("a"), RS256), Ok(Some("a")));
    assert_eq!(kid_of(Some("a"), ES256), Ok(Some("a")));
    assert_eq!(kid_of(Some("a"), RS384), Err("OtherAlgorithm".to_owned()));
    assert_eq!(kid_of(Some("c"), RS256), Err("Unknown".to_owned()));
    assert_eq!(kid_of(None, RS256), Err("Ambiguous".to_owned()));
    assert_eq!(kid_of(None, RS384), Ok(Some("b")));
    assert_eq!(kid_of(None, Algorithm::EdDSA), Err("Unknown".to_owned()));
    let nameless = parse(&[rsa(json!({"kid": ""}))]).unwrap();
    assert!(matches!(nameless.select(Some("any"), RS256), Selected::Key(_)));
    assert!(matches!(nameless.select(Some("any"), ES256), Selected::Unknown));
}

#[test]
fn what_is_known_stays_until_better_comes_and_nobody_is_told_more_than_is_known() {
    install_provider();
    let source = KeySource::new(3, "https://a.example/keys");
    assert!(source.health().unwrap_err().contains("https://a.example/keys"));
    assert_eq!(source.refusal().reason, CloseReason::Unavailable);
    let set = json!({"keys": [p256(json!({"kid": "a"}))]}).to_string();
    assert_eq!(source.learn(set.as_bytes()), Ok(1));
    assert_eq!((source.health(), source.refusal().reason), (Ok(()), CloseReason::Unauthorized));
    assert!(source.learn(b"{\"keys\":[]}").is_err());
    assert_eq!((source.health(), source.refusal().reason), (Ok(()), CloseReason::Unavailable));
    let keys = source.keys().unwrap();
    assert!(matches!(keys.select(Some("a"), Algorithm::ES256), Selected::Key(_)));
    source.fail("gone");
    assert_eq!(source.refusal().reason, CloseReason::Unavailable);
}
