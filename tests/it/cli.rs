//! The command line as a shell sees it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs the binary in an empty environment.
fn stompede(arguments: &[&str]) -> Output {
    with_input(arguments, &[], "")
}

fn with_input(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stompede"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn version_and_help_succeed_and_every_command_shows_an_example() {
    let version = stompede(&["--version"]);
    assert_eq!((code(&version), out(&version)), (0, format!("stompede {}\n", env!("CARGO_PKG_VERSION"))));
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["token", "--help"],
        &["check", "--help"],
        &["hash", "--help"],
        &["pub", "--help"],
        &["sub", "--help"],
        &["smoke", "--help"],
    ] {
        let help = stompede(command);
        assert_eq!(code(&help), 0, "{command:?}");
        assert!(out(&help).contains("Example"), "{command:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["fly"][..],
        &["--http-port", "many"],
        &["token"],
        &["token", "--sub", "a", "--ttl", "soon"],
        &["check"],
        &["serve", "--listen", "here"],
        &["check", "/no/such/file"],
    ] {
        let output = stompede(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn check_says_ok_or_what_is_wrong_and_where() {
    let good = file("[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n");
    let output = stompede(&["check", path(&good)]);
    assert_eq!((code(&output), out(&output)), (0, format!("{}: ok\n", path(&good))));
    let empty = file("");
    assert!(out(&stompede(&["check", path(&empty)])).contains("development mode"));
    let unknown = file("[limits]\nbody_byte_max = 5\n");
    let output = stompede(&["check", path(&unknown)]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains(&format!("{}:2:1: ", path(&unknown))), "{}", err(&output));
    assert!(err(&output).contains("body_bytes_max"), "{}", err(&output));
    let open = file("listen = \"0.0.0.0\"\n");
    let output = stompede(&["check", path(&open)]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("allow_insecure"), "{}", err(&output));
}

#[test]
fn the_example_passes_the_check() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/stompede.example.toml");
    let output = stompede(&["check", example]);
    assert_eq!(code(&output), 0, "{}", err(&output));
}

#[test]
fn serve_refuses_to_be_open_without_a_key() {
    let output = stompede(&["--listen", "0.0.0.0"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--allow-insecure"), "{}", err(&output));
    let secret = [("STOMPEDE_JWT__SECRET", "short")];
    let output = with_input(&["serve"], &secret, "");
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("jwt.allow_short_secret"), "{}", err(&output));
}

#[test]
fn a_token_is_one_that_the_same_configuration_accepts() {
    use std::time::{SystemTime, UNIX_EPOCH};
    use stompede::policy::{JwtConfig, JwtVerifier, Secret};
    let secret = "0123456789abcdef0123456789abcdef";
    let config = file(&format!("[jwt]\nsecret = \"{secret}\"\nissuer = \"me\"\n"));
    let arguments =
        ["token", "--sub", "alice", "--room", "42", "--room", "43", "--ttl", "1h", "--claim", "team=red"];
    let output = stompede(&[&arguments[..], &["--config", path(&config)]].concat());
    assert_eq!(code(&output), 0, "{}", err(&output));
    let jwt = JwtConfig {
        secret: Some(Secret::new(secret)),
        issuer: Some("me".to_owned()),
        ..JwtConfig::default()
    };
    let verifier = JwtVerifier::new(&jwt, ["rooms".into(), "team".into()].into()).unwrap();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let alice = verifier.verify(out(&output).trim(), now_s).unwrap();
    assert_eq!(alice.name(), "alice");
    assert!(alice.claims_contain("rooms", "42") && alice.claims_contain("rooms", "43"));
    assert!(alice.claims_contain("team", "red") && !alice.is_service());
    let service = stompede(&["token", "--sub", "s", "--service", "--config", path(&config)]);
    assert!(verifier.verify(out(&service).trim(), now_s).unwrap().is_service());
    let by_variable = with_input(
        &["token", "--sub", "bob"],
        &[("STOMPEDE_JWT__SECRET", secret), ("STOMPEDE_JWT__ISSUER", "me")],
        "",
    );
    assert_eq!(verifier.verify(out(&by_variable).trim(), now_s).unwrap().name(), "bob");
}

#[test]
fn without_a_key_a_token_is_for_development_and_says_so() {
    let output = stompede(&["token", "--sub", "alice"]);
    assert_eq!(code(&output), 0);
    assert!(err(&output).contains("development mode"), "{}", err(&output));
    assert_eq!(out(&output).lines().count(), 1);
}

#[test]
fn hash_reads_the_passcode_from_standard_input() {
    let output = with_input(&["hash"], &[], "s3cret\n");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let hash = out(&output);
    let config = file(&format!("[[account]]\nlogin = \"a\"\npasscode_hash = \"{}\"\n", hash.trim()));
    assert_eq!(code(&stompede(&["check", path(&config)])), 0);
    let again = with_input(&["hash"], &[], "s3cret");
    assert_ne!(out(&again), hash, "every hash has its own salt");
    assert_eq!(code(&stompede(&["hash"])), 2);
}
