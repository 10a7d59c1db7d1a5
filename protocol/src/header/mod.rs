//! The headers of a frame.

mod escape;

use std::fmt;

use smallvec::SmallVec;

use crate::Version;

pub use escape::{escape_into, unescape};
pub(crate) use escape::{is_line_breaking, push_unescaped};

/// Headers in their order, un-escaped, repeated ones included: "if a client or a server receives repeated frame
/// header entries, only the first header entry SHOULD be used".
///
/// All headers lie in one text as lines `name:value`, each with an LF, un-escaped; where they end stands beside it,
/// so a name or value may hold any character. Up to eight headers cost one allocation, more cost two.
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    ends: SmallVec<[Ends; INLINE]>,
    /// One bit for each name: most questions are for a name that is not there.
    name_bits: u64,
}

/// Where a header's name and value end in the text; a colon stands between them, and an
/// LF before the next header.
#[derive(Clone, Copy, Debug)]
struct Ends {
    name: u32,
    value: u32,
}

impl Headers {
    /// No headers; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No headers yet, and room for `text_bytes` of names and values.
    #[must_use]
    pub fn with_capacity(text_bytes: usize) -> Self {
        Self { text: String::with_capacity(text_bytes), ..Self::default() }
    }

    /// Adds a header at the end.
    ///
    /// # Panics
    /// When all names and values together would pass 4 GiB; a decoded head is far below by its limit.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.reserve(name.len() + value.len() + 2);
        self.text.push_str(name);
        let name_end = self.end_name();
        self.text.push_str(value);
        self.end_value(name_end);
    }

    /// Adds a header as it came over the wire, un-escaping it.
    ///
    /// # Errors
    /// The two characters of an escape that `version` does not define.
    pub(crate) fn push_escaped(
        &mut self,
        name: &str,
        value: &str,
        version: Version,
    ) -> Result<(), UndefinedEscape> {
        push_unescaped(&mut self.text, name, version)?;
        let name_end = self.end_name();
        push_unescaped(&mut self.text, value, version)?;
        self.end_value(name_end);
        Ok(())
    }

    /// Header lines as they came over the wire, to be found by [`Self::mark`]; nothing in them is escaped.
    pub(crate) fn verbatim(lines: &str) -> Self {
        Self { text: lines.to_owned(), ..Self::default() }
    }

    /// In the text given to [`Self::verbatim`] the next header's name and value end here.
    pub(crate) fn mark(&mut self, name_end: usize, value_end: usize) {
        let offset = |end: usize| u32::try_from(end).expect("headers stay below 4 GiB");
        let start = self.ends.last().map_or(0, |last| last.value as usize + 1);
        self.name_bits |= bit_of(&self.text.as_bytes()[start..name_end]);
        self.ends.push(Ends { name: offset(name_end), value: offset(value_end) });
    }

    /// The value of the first header of this name.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, name: &str) -> Option<&str> {
        if self.name_bits & bit_of(name.as_bytes()) == 0 { None } else { self.find(name) }
    }

    #[inline(never)]
    fn find(&self, name: &str) -> Option<&str> {
        let text = self.text.as_bytes();
        let mut start = 0;
        for ends in &self.ends {
            let (name_end, value_end) = (ends.name as usize, ends.value as usize);
            // The length tells most names apart.
            if name_end - start == name.len() && text[start..name_end] == *name.as_bytes() {
                return Some(&self.text[name_end + 1..value_end]);
            }
            start = value_end + 1;
        }
        None
    }

    /// The values of all headers of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(each, _)| *each == name).map(|(_, value)| value)
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |ends| {
            let (name_end, value_end) = (ends.name as usize, ends.value as usize);
            let header = (&self.text[start..name_end], &self.text[name_end + 1..value_end]);
            start = value_end + 1;
            header
        })
    }

    /// How many headers there are, repeated ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all names and values, with a colon and an LF each.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes allocated on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let spilled = if self.ends.spilled() { self.ends.capacity() * size_of::<Ends>() } else { 0 };
        self.text.capacity() + spilled
    }

    fn end_name(&mut self) -> usize {
        let name_end = self.text.len();
        self.text.push(':');
        name_end
    }

    fn end_value(&mut self, name_end: usize) {
        let value_end = self.text.len();
        self.text.push('\n');
        self.mark(name_end, value_end);
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(headers: T) -> Self {
        let mut all = Self::new();
        all.extend(headers);
        all
    }
}

impl<'a> Extend<(&'a str, &'a str)> for Headers {
    fn extend<T: IntoIterator<Item = (&'a str, &'a str)>>(&mut self, headers: T) {
        headers.into_iter().for_each(|(name, value)| self.push(name, value));
    }
}

/// The character after a backslash that means nothing; `None` at the end of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndefinedEscape(pub Option<char>);

/// One bit for a name, by its length and how it begins: those in use hardly ever share one.
#[inline(always)]
fn bit_of(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |first| usize::from(*first));
    1 << (((name.len() * 8) ^ first) % 64)
}

/// Headers that need no second allocation. Clients send three to six on a SEND.
const INLINE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_headers_counts_and_all_are_kept_in_order() {
        let headers: Headers = [("a", "1"), ("b", ""), ("a", "2")].into_iter().collect();
        assert_eq!(headers.get("a"), Some("1"));
        assert_eq!(headers.get("b"), Some(""));
        assert_eq!(headers.get("c"), None);
        assert_eq!(headers.get("A"), None, "header names are case-sensitive");
        assert_eq!(headers.get_all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1"), ("b", ""), ("a", "2")]);
    }

    #[test]
    fn whatever_its_name_a_header_is_found_however_it_came() {
        let names: Vec<String> = (0..300).map(|n| format!("{}{n}", "x".repeat(n % 40))).collect();
        let mut headers = Headers::new();
        for name in &names {
            assert_eq!(headers.get(name), None);
            headers.push(name, "v");
            assert_eq!(headers.get(name), Some("v"));
        }
        let mut escaped = Headers::new();
        escaped.push_escaped("\\ca", "1", Version::V1_2).unwrap();
        assert_eq!((escaped.get(":a"), escaped.get("\\ca")), (Some("1"), None));
        escaped.push("", "empty");
        assert_eq!(escaped.clone().get(""), Some("empty"));
        let mut verbatim = Headers::verbatim("a:1\nlonger:2\n");
        verbatim.mark(1, 3);
        verbatim.mark(10, 12);
        assert_eq!(
            (verbatim.get("a"), verbatim.get("longer"), verbatim.get("b")),
            (Some("1"), Some("2"), None)
        );
    }

    #[test]
    fn equality_looks_at_the_boundaries_of_names_and_values() {
        let one: Headers = [("ab", "c")].into_iter().collect();
        let other: Headers = [("a", "bc")].into_iter().collect();
        assert_ne!(one, other);
        assert_eq!(one, one.clone());
    }

    #[test]
    fn eight_headers_take_one_allocation() {
        let mut headers = Headers::with_capacity(81);
        for _ in 0..8 {
            headers.push("name", "val");
        }
        assert_eq!(headers.heap_bytes(), 81);
        headers.push("name", "val");
        assert!(headers.heap_bytes() > 81);
        assert_eq!(headers.len(), 9);
    }

    #[test]
    fn an_empty_set_allocates_nothing() {
        assert_eq!(Headers::new().heap_bytes(), 0);
        assert!(Headers::new().is_empty());
    }
}
