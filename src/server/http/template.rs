//! Paths with parameters: `/ws`, `/rooms/{room}`.

/// A path whose segments are texts or names in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<[Segment]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(Box<str>),
    Parameter(Box<str>),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{template:?} is no path template: {fault}")]
pub struct BadTemplate {
    template: Box<str>,
    fault: &'static str,
}

/// What the parameters of a template stand for in one request, percent-decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(Box<str>, Box<str>)>);

impl Params {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| &**each == name).map(|(_, value)| &**value)
    }
}

impl Template {
    /// Takes `/a/{b}/c`: a parameter is one whole segment and every name is given once.
    ///
    /// # Errors
    /// No leading slash, braces within a segment, an empty name, or one given twice.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let wrong = |fault| BadTemplate { template: text.into(), fault };
        let path = text.strip_prefix('/').ok_or_else(|| wrong("it does not begin with a slash"))?;
        let mut segments: Vec<Segment> = Vec::new();
        for piece in path.split('/') {
            let name = piece.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            if name.unwrap_or(piece).contains(['{', '}']) {
                return Err(wrong("a parameter is a whole segment: {name}"));
            }
            let segment = match name {
                Some("") => return Err(wrong("a parameter needs a name")),
                Some(name) => Segment::Parameter(name.into()),
                None => Segment::Text(piece.into()),
            };
            if name.is_some() && segments.contains(&segment) {
                return Err(wrong("a name is given twice"));
            }
            segments.push(segment);
        }
        Ok(Self(segments.into()))
    }

    /// The names of the parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(&**name),
            Segment::Text(_) => None,
        })
    }

    /// The text with `params` in place of its parameters. `None` where one is missing, or is no segment by itself: then
    /// what is written could be another text than was meant.
    pub fn fill(&self, params: &Params) -> Option<String> {
        let mut filled = String::new();
        for segment in &self.0 {
            filled.push('/');
            filled.push_str(match segment {
                Segment::Text(text) => text,
                Segment::Parameter(name) => params.get(name).filter(|value| is_plain_segment(value))?,
            });
        }
        Some(filled)
    }

    /// The parameters, if `path` (still percent-encoded, without query) fits. No parameter is empty.
    pub fn matches(&self, path: &str) -> Option<Params> {
        let mut params = Params::default();
        let mut pieces = path.strip_prefix('/')?.split('/');
        for segment in &self.0 {
            let piece = pieces.next()?;
            match segment {
                Segment::Text(text) if **text != *piece => return None,
                Segment::Text(_) => {}
                Segment::Parameter(_) if piece.is_empty() => return None,
                Segment::Parameter(name) => params.0.push((name.clone(), percent_decoded(piece)?)),
            }
        }
        pieces.next().is_none().then_some(params)
    }
}

/// Whether it stands for itself wherever it is put: nothing in it ends a segment or is a wildcard.
fn is_plain_segment(value: &str) -> bool {
    !value.is_empty() && !value.contains(['/', '*', '#', '>']) && !value.chars().any(char::is_control)
}

/// `None` for a broken escape or bytes that are no UTF-8.
fn percent_decoded(piece: &str) -> Option<Box<str>> {
    if !piece.contains('%') {
        return Some(piece.into());
    }
    let mut bytes = piece.bytes();
    let mut decoded = Vec::with_capacity(piece.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Into::into)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_whole_segments_and_decoded() {
        let template = Template::parse("/rooms/{room}/ws").unwrap();
        let room =
            |path: &str| template.matches(path).and_then(|params| params.get("room").map(str::to_owned));
        assert_eq!(room("/rooms/a/ws").as_deref(), Some("a"));
        assert_eq!(room("/rooms/a%2Fb%C3%BC/ws").as_deref(), Some("a/bü"));
        for path in
            ["/rooms//ws", "/rooms/a", "/rooms/a/ws/", "/rooms/a/b/ws", "/rooms/%/ws", "/rooms/%ff/ws", ""]
        {
            assert_eq!(room(path), None, "{path}");
        }
        assert!(Template::parse("/ws").unwrap().matches("/ws").is_some());
        assert!(Template::parse("/ws").unwrap().matches("/ws/").is_none());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "ws", "/a{b}", "/{}", "/{a}/{a}", "/{a", "/a}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
