//! Short names for texts, the same everywhere and always, of which nobody can make two alike (SHA-256, cut).

use sha2::{Digest, Sha256};

/// The name of these texts, in hexadecimal digits. Texts that are cut elsewhere have another one.
pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.finalize().iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Of a digest: enough for two not to be alike, by chance or on purpose.
const BYTES: usize = 16;

#[cfg(test)]
mod tests {
    #[test]
    fn the_same_texts_have_the_same_name_and_no_others() {
        // printf '\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\1c' | sha256sum
        let name = super::of(["ab", "c"]);
        assert_eq!(name, "601d5476e2ccfe2c87a2bba7a3226597");
        assert_ne!(name, super::of(["a", "bc"]));
        assert_ne!(name, super::of(["abc"]));
    }
}
