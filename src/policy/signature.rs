//! Proof that a request comes from this broker: HMAC-SHA256 (RFC 2104) with a secret that both sides know.

use std::fmt;

use aws_lc_rs::hmac;

use super::secret::Secret;

/// Signs with one secret.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl Signer {
    /// With the bytes of the text.
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }

    /// `sha256=` and the code of `<timestamp>.<body>` in hexadecimal digits.
    pub fn sign(&self, timestamp_s: u64, body: &[u8]) -> String {
        let mut signing = hmac::Context::with_key(&self.0);
        signing.update(format!("{timestamp_s}.").as_bytes());
        signing.update(body);
        let mut text = "sha256=".to_owned();
        for byte in signing.sign().as_ref() {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// Shortest secret of a hook, bytes: as long as the code.
pub const SECRET_BYTES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_code_of_the_time_and_the_body() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of at least thirty-two bytes'
        let signer = Signer::new(&Secret::new("a secret of at least thirty-two bytes"));
        let expected = "sha256=b51c6f0cb715795faf5f16f0cf0b78adf54fdb81d0b49da3c9784fe04aa0e4d9";
        assert_eq!(signer.sign(1_700_000_000, br#"{"a":1}"#), expected);
        assert_ne!(signer.sign(1_700_000_001, br#"{"a":1}"#), expected);
        assert_ne!(signer.sign(1_700_000_000, br#"{"a":2}"#), expected);
    }

    #[test]
    fn a_signer_shows_nothing_of_its_secret() {
        assert_eq!(format!("{:?}", Signer::new(&Secret::new("hush"))), "Signer");
    }
}
