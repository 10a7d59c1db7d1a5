use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use serde_json::json;

use super::*;
use crate::model::{CloseReason, Role};
use crate::policy::Secret;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secret() -> JwtConfig {
    JwtConfig { secret: Some(Secret::new(SECRET)), ..JwtConfig::default() }
}

fn verifier(config: &JwtConfig) -> JwtVerifier {
    JwtVerifier::new(config, ["rooms".into(), "team".into()].into()).unwrap()
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    install_provider();
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

fn token(claims: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), claims)
}

fn refusal(config: &JwtConfig, token: &str) -> Refusal {
    verifier(config).verify(token, NOW_S).unwrap_err()
}

#[test]
fn a_good_token_makes_a_user_with_the_claims_that_rules_ask_for() {
    let claims =
        json!({"sub": "alice", "exp": NOW_S + 60, "rooms": ["a", 42, {"x": 1}], "team": "red", "email": "e"});
    let alice = verifier(&secret()).verify(&token(&claims), NOW_S).unwrap();
    assert_eq!((alice.name(), alice.role, alice.expires_s), ("alice", Role::User, Some(NOW_S + 60)));
    assert!(alice.claims_contain("rooms", "a") && alice.claims_contain("rooms", "42"));
    assert!(alice.claims_contain("team", "red"));
    assert_eq!(alice.claims.len(), 2, "claims that no rule names are not kept");
    assert!(!alice.unrestricted);
}

#[test]
fn claims_are_judged_by_our_clock() {
    use CloseReason::{TokenExpired, Unauthorized};
    let cases = [
        (json!({"sub": "a", "exp": NOW_S + 1}), Ok(NOW_S + 1)),
        (json!({"sub": "a", "exp": (NOW_S + 1) as f64 + 0.5}), Ok(NOW_S + 1)),
        (json!({"sub": "a", "exp": NOW_S}), Ok(NOW_S + 30)),
        (json!({"sub": "a", "exp": NOW_S - 29}), Ok(NOW_S + 1)),
        (json!({"sub": "a", "exp": NOW_S - 30}), Err((TokenExpired, "expired 30 s ago"))),
        (json!({"sub": "a", "exp": u64::MAX}), Ok(u64::MAX)),
        (json!({"sub": "a", "exp": NOW_S + 9, "nbf": NOW_S + 30}), Ok(NOW_S + 9)),
        (
            json!({"sub": "a", "exp": NOW_S + 99, "nbf": NOW_S + 31}),
            Err((Unauthorized, "valid only in 31 s")),
        ),
        (json!({"sub": "a", "exp": NOW_S + 9, "nbf": "x"}), Err((Unauthorized, "nbf"))),
        (json!({"sub": "a"}), Err((Unauthorized, "no exp"))),
        (json!({"sub": "a", "exp": "soon"}), Err((Unauthorized, "exp is not"))),
        (json!({"sub": "a", "exp": -5}), Err((Unauthorized, "exp is not"))),
        (json!({"exp": NOW_S + 9}), Err((Unauthorized, "no sub"))),
        (json!({"sub": 42, "exp": NOW_S + 9}), Ok(NOW_S + 9)),
        (json!({"sub": 4.5, "exp": NOW_S + 9}), Err((Unauthorized, "sub is neither"))),
        (json!({"sub": true, "exp": NOW_S + 9}), Err((Unauthorized, "sub is neither"))),
        (json!({"sub": "", "exp": NOW_S + 9}), Err((Unauthorized, "empty"))),
        (json!({"sub": "a\nb", "exp": NOW_S + 9}), Err((Unauthorized, "control"))),
        (json!({"sub": "x".repeat(257), "exp": NOW_S + 9}), Err((Unauthorized, "256"))),
        (json!({"sub": "x".repeat(256), "exp": NOW_S + 9}), Ok(NOW_S + 9)),
    ];
    for (claims, expected) in cases {
        let found = verifier(&secret()).verify(&token(&claims), NOW_S);
        match (found, expected) {
            (Ok(principal), Ok(expires_s)) => assert_eq!(principal.expires_s, Some(expires_s), "{claims}"),
            (Err(refusal), Err((reason, part))) => {
                assert_eq!(refusal.reason, reason, "{claims}");
                assert!(refusal.message.contains(part), "{claims}: {refusal}");
            }
            (found, _) => panic!("{claims}: {found:?}"),
        }
    }
}

#[test]
fn issuer_and_audience_are_demanded_once_configured() {
    let config = JwtConfig { issuer: Some("me".to_owned()), audience: vec!["us".to_owned()], ..secret() };
    let cases = [
        (json!({"iss": "me", "aud": "us"}), None),
        (json!({"iss": "me", "aud": ["them", "us"]}), None),
        (json!({"aud": "us"}), Some("iss")),
        (json!({"iss": "you", "aud": "us"}), Some("iss")),
        (json!({"iss": "me"}), Some("aud")),
        (json!({"iss": "me", "aud": ["them"]}), Some("aud")),
    ];
    for (mut claims, fault) in cases {
        claims["sub"] = "a".into();
        claims["exp"] = (NOW_S + 9).into();
        let found = verifier(&config).verify(&token(&claims), NOW_S);
        assert_eq!(found.is_err(), fault.is_some(), "{claims}");
        if let (Err(refusal), Some(fault)) = (found, fault) {
            assert!(refusal.message.contains(fault), "{refusal}");
        }
        assert!(verifier(&secret()).verify(&token(&claims), NOW_S).is_ok(), "not configured, not demanded");
    }
}

#[test]
fn the_role_is_a_claim() {
    let role = |config: &JwtConfig, mut claims: Value| {
        claims["sub"] = "a".into();
        claims["exp"] = (NOW_S + 9).into();
        verifier(config).verify(&token(&claims), NOW_S).unwrap().role
    };
    assert_eq!(role(&secret(), json!({"role": "service"})), Role::Service);
    assert_eq!(role(&secret(), json!({"roles": ["x", "service"]})), Role::Service);
    assert_eq!(role(&secret(), json!({"role": "services"})), Role::User);
    assert_eq!(role(&secret(), json!({"authorities": "service"})), Role::User);
    let custom = JwtConfig {
        role_claims: vec!["authorities".to_owned()],
        service_role: "backend".to_owned(),
        ..secret()
    };
    assert_eq!(role(&custom, json!({"authorities": ["backend"]})), Role::Service);
    assert_eq!(role(&custom, json!({"role": "service"})), Role::User);
}

#[test]
fn the_user_claim_can_be_another() {
    let config = JwtConfig { user_claim: "uid".to_owned(), ..secret() };
    let claims = json!({"sub": "a", "uid": 7, "exp": NOW_S + 9});
    assert_eq!(verifier(&config).verify(&token(&claims), NOW_S).unwrap().name(), "7");
}

#[test]
fn no_refusal_echoes_the_token() {
    let other = EncodingKey::from_secret(&[b'x'; 32]);
    let claims = json!({"sub": "alice", "exp": NOW_S + 9});
    let forged = signed(Algorithm::HS256, &other, &claims);
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", forged.split('.').nth(1).unwrap());
    let cases = [
        (forged.clone(), "signature"),
        (unsigned, "JWT"),
        ("garbage".to_owned(), "JWT"),
        ("a.b.c".to_owned(), "JWT"),
        (String::new(), "JWT"),
        ("e".repeat(TOKEN_BYTES_MAX + 1), "longer than 8192"),
    ];
    for (token, part) in cases {
        let refusal = refusal(&secret(), &token);
        assert_eq!(refusal.reason, CloseReason::Unauthorized);
        assert!(refusal.message.contains(part), "{refusal}");
        assert!(token.is_empty() || !refusal.message.contains(&token), "{refusal}");
    }
    let shown = format!("{:?}", verifier(&secret()));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn a_secret_verifies_every_hmac_unless_narrowed() {
    let claims = json!({"sub": "a", "exp": NOW_S + 9});
    for algorithm in key::HMAC {
        let token = signed(*algorithm, &EncodingKey::from_secret(SECRET.as_bytes()), &claims);
        assert!(verifier(&secret()).verify(&token, NOW_S).is_ok(), "{algorithm:?}");
        let narrow = JwtConfig { algorithms: vec!["HS384".to_owned()], ..secret() };
        assert_eq!(verifier(&narrow).verify(&token, NOW_S).is_ok(), *algorithm == Algorithm::HS384);
    }
}

/// A key pair, its PEM file and what signs with it.
fn pair(algorithm: &'static SignatureAlgorithm) -> (KeyPair, tempfile::NamedTempFile) {
    let pair = match KeyPair::generate_for(algorithm) {
        Ok(pair) => pair,
        Err(_) => KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048).unwrap(),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pair.public_key_pem()).unwrap();
    (pair, file)
}

fn public(file: &tempfile::NamedTempFile) -> JwtConfig {
    JwtConfig { public_key_file: Some(file.path().into()), ..JwtConfig::default() }
}

#[test]
fn a_public_key_verifies_its_own_algorithms_and_no_others() {
    let claims = json!({"sub": "a", "exp": NOW_S + 9});
    let rsa = |pem: &str| EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let ec = |pem: &str| EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    let ed = |pem: &str| EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    type Encoding<'a> = &'a dyn Fn(&str) -> EncodingKey;
    use Algorithm::*;
    let kinds: [(&SignatureAlgorithm, Encoding<'_>, &[Algorithm]); 4] = [
        (&rcgen::PKCS_RSA_SHA256, &rsa, &[RS256, RS384, RS512, PS256, PS384, PS512]),
        (&rcgen::PKCS_ECDSA_P256_SHA256, &ec, &[ES256]),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &ec, &[ES384]),
        (&rcgen::PKCS_ED25519, &ed, &[EdDSA]),
    ];
    let made = kinds.map(|(kind, encoding, algorithms)| {
        let (pair, file) = pair(kind);
        (encoding(&pair.serialize_pem()), file, algorithms)
    });
    for (key, file, algorithms) in &made {
        for algorithm in *algorithms {
            let token = signed(*algorithm, key, &claims);
            assert_eq!(verifier(&public(file)).verify(&token, NOW_S).unwrap().name(), "a", "{algorithm:?}");
            for (_, other, _) in made.iter().filter(|(_, other, _)| other.path() != file.path()) {
                assert!(verifier(&public(other)).verify(&token, NOW_S).is_err(), "{algorithm:?}");
            }
            assert!(verifier(&secret()).verify(&token, NOW_S).is_err(), "{algorithm:?}");
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let (_, file) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let pem = std::fs::read(file.path()).unwrap();
    let claims = json!({"sub": "mallory", "exp": NOW_S + 9});
    let forged = signed(Algorithm::HS256, &EncodingKey::from_secret(&pem), &claims);
    assert!(refusal(&public(&file), &forged).message.contains("ES256"));
}

#[test]
fn keys_that_cannot_be_trusted_are_refused_by_name() {
    let (pair, file) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let error = |config: &JwtConfig| JwtVerifier::new(config, BTreeSet::new()).unwrap_err().to_string();
    let text = |secret: &str| JwtConfig { secret: Some(Secret::new(secret)), ..JwtConfig::default() };
    let base64 =
        |secret: &str| JwtConfig { secret_base64: Some(Secret::new(secret)), ..JwtConfig::default() };
    let mut cases = vec![
        (error(&JwtConfig::default()), "jwt.secret"),
        (error(&text("short")), "jwt.allow_short_secret"),
        (error(&JwtConfig { allow_short_secret: true, ..text("") }), "0 bytes"),
        (error(&base64("c2hvcnQ=")), "jwt.secret_base64 has 5 bytes"),
        (error(&base64("!")), "not base64"),
        (error(&JwtConfig { public_key_file: Some(file.path().into()), ..secret() }), "exclude each other"),
        (error(&JwtConfig { secret_base64: Some(Secret::new("x")), ..secret() }), "exclude each other"),
        (
            error(&JwtConfig { public_key_file: Some("/nowhere.pem".into()), ..JwtConfig::default() }),
            "/nowhere.pem",
        ),
        (error(&JwtConfig { algorithms: vec!["RS256".to_owned()], ..secret() }), "HS256, HS384, HS512"),
        (error(&JwtConfig { algorithms: vec!["none".to_owned()], ..secret() }), "\"none\""),
        (error(&JwtConfig { algorithms: vec!["ES384".to_owned()], ..public(&file) }), "ES256"),
    ];
    std::fs::write(file.path(), pair.serialize_pem()).unwrap();
    cases.push((error(&public(&file)), "a private key"));
    std::fs::write(file.path(), "no key").unwrap();
    cases.push((error(&public(&file)), "no PEM public key"));
    for (message, part) in cases {
        assert!(message.contains(part), "{message}");
        assert!(!message.contains(SECRET), "{message}");
    }
}

#[test]
fn base64_secrets_come_in_every_spelling() {
    let bytes = [0xfb; 32]; // its base64 has + and /, and padding
    let claims = json!({"sub": "a", "exp": NOW_S + 9});
    let token = signed(Algorithm::HS256, &EncodingKey::from_secret(&bytes), &claims);
    let standard = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";
    for spelling in [
        standard.to_owned(),
        standard.trim_end_matches('=').to_owned(),
        standard.replace('+', "-").replace('/', "_"),
        format!("{standard}\n"),
    ] {
        let config = JwtConfig { secret_base64: Some(Secret::new(&spelling)), ..JwtConfig::default() };
        assert!(verifier(&config).verify(&token, NOW_S).is_ok(), "{spelling}");
    }
}

#[test]
fn a_short_secret_works_when_it_is_asked_for() {
    let config =
        JwtConfig { secret: Some(Secret::new("short")), allow_short_secret: true, ..JwtConfig::default() };
    let token =
        signed(Algorithm::HS256, &EncodingKey::from_secret(b"short"), &json!({"sub": "a", "exp": NOW_S + 9}));
    assert!(verifier(&config).verify(&token, NOW_S).is_ok());
}

#[test]
fn what_the_signer_makes_the_verifier_takes() {
    use crate::policy::{JwtSigner, TokenOrder};
    let config = JwtConfig {
        issuer: Some("me".to_owned()),
        audience: vec!["us".to_owned()],
        algorithms: vec!["HS512".to_owned()],
        user_claim: "uid".to_owned(),
        ..secret()
    };
    let order = TokenOrder {
        user: "alice".to_owned(),
        service: true,
        claims: json!({"rooms": ["42"]}).as_object().unwrap().clone(),
        ttl_s: 60,
    };
    let token = JwtSigner::new(&config).unwrap().sign(&order, NOW_S).unwrap();
    assert!(has_jwt_shape(&token));
    let alice = verifier(&config).verify(&token, NOW_S).unwrap();
    assert_eq!((alice.name(), alice.role, alice.expires_s), ("alice", Role::Service, Some(NOW_S + 60)));
    assert!(alice.claims_contain("rooms", "42"));
    let nobody = TokenOrder::default();
    assert!(JwtSigner::new(&config).unwrap().sign(&nobody, NOW_S).is_err());
    let (_, file) = pair(&rcgen::PKCS_ED25519);
    assert_eq!(JwtSigner::new(&public(&file)).unwrap_err(), PolicyError::CannotSign);
}

#[test]
fn a_passcode_is_a_token_only_if_it_looks_like_one() {
    assert!(has_jwt_shape(&token(&json!({}))));
    for text in ["guest", "", "a.b.c", "ey.b", "ey.b.c.d", "eyJ.b c.d", "ey..c", "ey.ü.c"] {
        assert!(!has_jwt_shape(text), "{text}");
    }
    assert!(has_jwt_shape("eyJhbGciOiJub25lIn0.e30."), "unsigned tokens are tokens, and refused as such");
}

#[test]
fn published_keys_are_taken_only_for_tokens_that_are_meant_for_this_broker() {
    let url = || Some("https://login.example.com/keys".to_owned());
    let config = JwtConfig { jwks_url: url(), ..JwtConfig::default() };
    let unbound = PolicyError::UnboundKeys { url: "https://login.example.com/keys".to_owned() };
    assert_eq!(JwtVerifier::new(&config, BTreeSet::new()).unwrap_err(), unbound);
    let config = JwtConfig { issuer: Some("me".to_owned()), ..config };
    assert_eq!(JwtVerifier::new(&config, BTreeSet::new()).unwrap_err(), unbound);
    let config = JwtConfig { audience: vec!["us".to_owned()], ..config };
    assert_eq!(JwtVerifier::new(&config, BTreeSet::new()).unwrap().sources().len(), 1);
    let both = JwtConfig { secret: secret().secret, ..config.clone() };
    assert_eq!(JwtVerifier::new(&both, BTreeSet::new()).unwrap_err(), PolicyError::SeveralKeys);
    let hmac = JwtConfig { algorithms: vec!["HS256".to_owned()], ..config.clone() };
    assert!(matches!(JwtVerifier::new(&hmac, BTreeSet::new()), Err(PolicyError::Algorithm { .. })));
    let provider = |issuer: &str| ProviderConfig {
        issuer: issuer.to_owned(),
        jwks_url: "https://login.example.com/keys".to_owned(),
        audience: vec!["us".to_owned()],
        algorithms: Vec::new(),
        required_claims: Default::default(),
        user_claim: None,
        user_prefix: String::new(),
    };
    let twice = JwtConfig { provider: vec![provider("me")], ..config.clone() };
    let same = PolicyError::SameIssuer { issuer: "me".to_owned() };
    assert_eq!(JwtVerifier::new(&twice, BTreeSet::new()).unwrap_err(), same);
    let two = JwtConfig { provider: vec![provider("you")], ..config };
    assert_eq!(
        JwtVerifier::new(&two, BTreeSet::new()).unwrap().sources().len(),
        1,
        "one URL is fetched once"
    );
}

#[test]
fn a_secret_beside_published_keys_verifies_for_nobody_else() {
    let provider = ProviderConfig {
        issuer: "https://id.example/".to_owned(),
        jwks_url: "https://id.example/keys".to_owned(),
        audience: vec!["us".to_owned()],
        algorithms: Vec::new(),
        required_claims: Default::default(),
        user_claim: None,
        user_prefix: String::new(),
    };
    let verifier = verifier(&JwtConfig { provider: vec![provider], ..secret() });
    let claims = |issuer: &str| json!({"iss": issuer, "aud": "us", "sub": "a", "exp": NOW_S + 9});
    assert!(verifier.verify(&token(&claims("we")), NOW_S).is_ok());
    let refused = verifier.attempt(&token(&claims("https://id.example/")), NOW_S).unwrap_err();
    assert!(
        matches!(&refused, Unproven::Refused(refusal) if refusal.message.contains("algorithm")),
        "{refused:?}"
    );
}
