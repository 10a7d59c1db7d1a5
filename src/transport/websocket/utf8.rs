//! UTF-8 checked as it comes, so that a long text message that is none fails at its first wrong byte
//! (RFC 6455, section 8.1) and not at its last.

/// The state between two pieces of one text.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Utf8 {
    /// The begin of a character that goes on in the next piece.
    begun: [u8; 3],
    begun_len: u8,
}

impl Utf8 {
    /// Whether the text can still become valid after `piece`.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> bool {
        while self.begun_len > 0 {
            let Some((next, rest)) = piece.split_first() else { return true };
            let len = usize::from(self.begun_len);
            let mut character = [0; 4];
            character[..len].copy_from_slice(&self.begun[..len]);
            character[len] = *next;
            self.begun_len = 0;
            if !self.take(&character[..=len]) {
                return false;
            }
            piece = rest;
        }
        self.take(piece)
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let begun = &bytes[error.valid_up_to()..];
                self.begun[..begun.len()].copy_from_slice(begun);
                self.begun_len = begun.len() as u8;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_wrong_byte_is_noticed_whatever_the_split() {
        // Surrogates, overlong forms, beyond U+10FFFF, a lone continuation: wrong at the byte given.
        let cases: [(&[u8], usize); 6] = [
            (b"\xce\xba\xed\xa0\x80", 3),
            (b"\xc0\xaf", 0),
            (b"\xf4\x90\x80\x80", 1),
            (b"a\x80", 1),
            (b"\xe0\x80", 1),
            (b"\xf0\x9f\x98x", 3),
        ];
        for (text, wrong) in cases {
            let mut utf8 = Utf8::default();
            let noticed = text.iter().position(|byte| !utf8.feed(&[*byte]));
            assert_eq!(noticed, Some(wrong), "{text:x?}");
            assert!(!Utf8::default().feed(text), "{text:x?}");
        }
    }

    proptest! {
        #[test]
        fn valid_text_is_valid_in_any_split(text in ".{0,40}", cuts in prop::collection::vec(0usize..6, 1..20)) {
            let mut utf8 = Utf8::default();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle().take(200) {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                prop_assert!(utf8.feed(piece));
                rest = later;
            }
            prop_assert!(utf8.feed(rest));
        }
    }
}
