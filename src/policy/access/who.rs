//! The third part of a rule.

use super::{Captures, PolicyError, RulePattern};
use crate::model::{Principal, Role};

/// Whom a rule admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Everybody, without signing in too.
    Anyone,
    /// Every user and service.
    SignedIn,
    /// Services only.
    Service,
    /// Whom the backend allows it, asked by a hook.
    Hook,
    /// Those whose claim has what stands at `{capture}` among its values.
    ClaimContains {
        /// Name of the claim.
        claim: Box<str>,
        /// Name of the pattern's segment.
        capture: Box<str>,
    },
    /// Those whose claim is exactly what stands at `{capture}`.
    ClaimEquals {
        /// Name of the claim.
        claim: Box<str>,
        /// Name of the pattern's segment.
        capture: Box<str>,
    },
}

impl Who {
    /// Reads `anyone`, `signed-in`, `service`, `hook`, `claim <name> contains {capture}` or `claim <name> equals {capture}`.
    pub fn parse(text: &str, pattern: &RulePattern) -> Result<Self, PolicyError> {
        let wrong = |fault| PolicyError::RuleWho {
            pattern: pattern.as_str().to_owned(),
            who: text.to_owned(),
            fault,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (claim, relation, capture) = match words[..] {
            ["anyone"] => return Ok(Self::Anyone),
            ["signed-in"] => return Ok(Self::SignedIn),
            ["service"] => return Ok(Self::Service),
            ["hook"] => return Ok(Self::Hook),
            ["claim", claim, relation @ ("contains" | "equals"), capture] => (claim, relation, capture),
            _ => return Err(wrong(FORMS)),
        };
        let capture = capture.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let capture = capture
            .ok_or_else(|| wrong("the last word is a segment of the pattern in braces, like {room}"))?;
        if !pattern.has_capture(capture) {
            return Err(wrong("the pattern has no such segment"));
        }
        let (claim, capture) = (claim.into(), capture.into());
        Ok(if relation == "equals" {
            Self::ClaimEquals { claim, capture }
        } else {
            Self::ClaimContains { claim, capture }
        })
    }

    /// The claim that must be known.
    pub(super) fn claim(&self) -> Option<&str> {
        match self {
            Self::ClaimContains { claim, .. } | Self::ClaimEquals { claim, .. } => Some(claim),
            Self::Anyone | Self::SignedIn | Self::Service | Self::Hook => None,
        }
    }

    pub(super) fn admits(&self, principal: &Principal, captures: &Captures<'_>) -> bool {
        // A segment that a wildcard leaves open could be any value, so no claim vouches for it.
        let value = |name: &str| captures.iter().find(|(n, _)| *n == name).and_then(|(_, value)| *value);
        match self {
            Self::Anyone => true,
            Self::SignedIn => principal.role != Role::Anonymous,
            Self::Service => principal.is_service(),
            // Not before he was asked.
            Self::Hook => false,
            Self::ClaimContains { claim, capture } => {
                value(capture).is_some_and(|value| principal.claims_contain(claim, value))
            }
            Self::ClaimEquals { claim, capture } => {
                let values = principal.claims.get(claim).map_or(&[][..], |values| values);
                matches!((values, value(capture)), ([only], Some(value)) if **only == *value)
            }
        }
    }
}

const FORMS: &str = "it is one of anyone, signed-in, service, hook, claim <name> contains {capture}, claim <name> equals {capture}";
