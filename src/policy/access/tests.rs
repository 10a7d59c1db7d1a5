use proptest::prelude::*;

use super::*;
use crate::model::Destination;

fn alice() -> Principal {
    let mut alice = Principal::user("alice");
    alice.claims.insert("rooms".into(), ["42".into(), "7".into()].into());
    alice
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn rule(pattern: &str, who: &str) -> AccessRule {
    let config = AccessRuleConfig {
        pattern: pattern.to_owned(),
        actions: vec![Action::Subscribe],
        who: vec![who.to_owned()],
    };
    config.parse().unwrap()
}

#[test]
fn the_default_rules_are_those_of_the_contract() {
    use Action::{Handle, History, Presence, Send, Subscribe};
    let access = Access::defaults();
    let cases = [
        (Subscribe, "/user/queue/errors", true),
        (Send, "/user/queue/errors", false),
        (Subscribe, "/topic/chat/42", true),
        (Presence, "/topic/chat/42", true),
        (History, "/topic/chat/7", true),
        (Subscribe, "/topic/chat/43", false),
        (Subscribe, "/topic/chat/4", false),
        (History, "/topic/chat/43", false),
        (Send, "/topic/chat/42", false),
        (Subscribe, "/topic/chat/42/events", true),
        (Subscribe, "/topic/chat/43/events", false),
        (Subscribe, "/topic/chat/42/other", false),
        (Subscribe, "/topic/news", false),
        (Send, "/app/chat/42/send", true),
        (Send, "/app/chat/43/send", false),
        (Subscribe, "/app/chat/42/members", true),
        (Subscribe, "/app/chat/43/members", false),
        (Presence, "/app/chat/42/members", true),
        (Send, "/app/orders", true),
        (Subscribe, "/app/chat/unread", true),
        (Handle, "/app/orders", false),
        (Subscribe, "/queue/jobs", false),
        (Send, "/queue/jobs", false),
        (Send, "/user/bob/queue/m", false),
        (Subscribe, "/temp-queue/x", true),
        (Send, "/temp-queue/x", true),
    ];
    for (action, destination, expected) in cases {
        assert_eq!(access.may(&alice(), action, destination), expected, "{action:?} {destination}");
        assert!(!access.may(&Principal::anonymous(), action, destination), "{destination}");
        assert!(access.may(&Principal::service("s"), action, destination), "{destination}");
    }
}

#[test]
fn development_users_may_everything_but_handle() {
    let access = Access::defaults();
    let user = Principal { unrestricted: true, ..Principal::user("alice") };
    assert!(access.may(&user, Action::Subscribe, "/topic/any"));
    assert!(access.may(&user, Action::Send, "/user/bob/queue/m"));
    assert!(access.may_pattern(&user, Action::Subscribe, &pattern("/topic/**")));
    assert!(!access.may(&user, Action::Handle, "/app/orders"));
}

#[test]
fn without_rules_everything_is_denied() {
    let access = Access::new(Vec::new());
    assert!(!access.may(&alice(), Action::Subscribe, "/topic/a"));
    assert!(!access.may_pattern(&alice(), Action::Subscribe, &pattern("/topic/*")));
}

#[test]
fn the_first_matching_rule_decides() {
    let access = Access::new(vec![rule("/topic/a/secret", "service"), rule("/topic/a/**", "anyone")]);
    assert!(access.may(&alice(), Action::Subscribe, "/topic/a/open"));
    assert!(!access.may(&alice(), Action::Subscribe, "/topic/a/secret"));
    assert!(!access.may_pattern(&alice(), Action::Subscribe, &pattern("/topic/a/*")));
    assert!(access.may_pattern(&alice(), Action::Subscribe, &pattern("/topic/a/*/b")));
}

#[test]
fn a_wildcard_is_allowed_only_where_one_rule_covers_it() {
    let access = Access::new(vec![
        rule("/topic/news/**", "anyone"),
        rule("/topic/tenant/{tenant}/**", "claim rooms contains {tenant}"),
        rule("/topic/pair/*/x", "signed-in"),
    ]);
    let cases = [
        ("/topic/news/*", true),
        ("/topic/news/**", true),
        ("/topic/news/*/x", true),
        ("/topic/*", false),
        ("/topic/**", false),
        ("/topic/tenant/42/**", true),
        ("/topic/tenant/43/**", false),
        ("/topic/tenant/*/a", false),
        ("/topic/tenant/**", false),
        ("/topic/pair/*/x", true),
        ("/topic/pair/a/x", true),
        ("/topic/pair/*/*", false),
    ];
    for (text, expected) in cases {
        assert_eq!(access.may_pattern(&alice(), Action::Subscribe, &pattern(text)), expected, "{text}");
    }
}

#[test]
fn equals_wants_the_claim_to_have_that_value_alone() {
    let access = Access::new(vec![rule("/topic/{team}", "claim team equals {team}")]);
    let mut user = Principal::user("u");
    user.claims.insert("team".into(), ["red".into()].into());
    assert!(access.may(&user, Action::Subscribe, "/topic/red"));
    assert!(!access.may(&user, Action::Subscribe, "/topic/blue"));
    user.claims.insert("team".into(), ["red".into(), "blue".into()].into());
    assert!(!access.may(&user, Action::Subscribe, "/topic/red"));
}

#[test]
fn the_claims_that_matter_are_those_that_rules_name() {
    let claims =
        Access::new(vec![rule("/topic/{a}", "claim team equals {a}"), rule("/topic/*", "anyone")]).claims();
    assert_eq!(claims.iter().map(|c| &**c).collect::<Vec<_>>(), ["team"]);
    assert!(Access::defaults().claims().contains("rooms"));
}

#[test]
fn mistakes_in_rules_are_told() {
    let parse = |pattern: &str, actions: &[Action], who: &[&str]| {
        let who = who.iter().map(|who| (*who).to_owned()).collect();
        let config = AccessRuleConfig { pattern: pattern.to_owned(), actions: actions.to_vec(), who };
        config.parse().unwrap_err().to_string()
    };
    let sub = &[Action::Subscribe];
    let cases = [
        (parse("topic/a", sub, &["anyone"]), "begins with /"),
        (parse("/topic/**/a", sub, &["anyone"]), "stands last"),
        (parse("/topic//a", sub, &["anyone"]), "empty segment"),
        (parse("/topic/a*", sub, &["anyone"]), "whole segment"),
        (parse("/topic/{}", sub, &["anyone"]), "whole segment"),
        (parse("/topic/{a}/{a}", sub, &["anyone"]), "twice"),
        (parse("/topic/a", &[], &["anyone"]), "actions is empty"),
        (parse("/topic/a", sub, &[]), "who is empty"),
        (parse("/topic/a", sub, &["everybody"]), "signed-in"),
        (parse("/topic/{a}", sub, &["claim rooms contains a"]), "in braces"),
        (parse("/topic/{a}", sub, &["claim rooms contains {b}"]), "no such segment"),
    ];
    for (message, part) in cases {
        assert!(message.contains(part), "{message}");
    }
}

fn piece(captures: bool) -> impl Strategy<Value = &'static str> {
    let named = if captures { "{x}" } else { "*" };
    prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("c"), 2 => Just("*"), 2 => Just(named)]
}

fn path(captures: bool) -> impl Strategy<Value = String> {
    (prop::collection::vec(piece(captures), 1..4), any::<bool>()).prop_map(|(mut pieces, rest)| {
        let named: Vec<usize> = (0..pieces.len()).filter(|i| pieces[*i] == "{x}").skip(1).collect();
        named.into_iter().for_each(|i| pieces[i] = "*");
        format!("/topic/{}{}", pieces.join("/"), if rest { "/**" } else { "" })
    })
}

fn any_rule() -> impl Strategy<Value = AccessRule> {
    let who = prop_oneof![Just("anyone"), Just("service"), Just("claim rooms contains {x}")];
    (path(true), who).prop_map(|(path, who)| {
        let who = if path.contains("{x}") || !who.contains("{x}") { who } else { "service" };
        rule(&path, who)
    })
}

/// Every name over the alphabet up to a length that no pattern above reaches with literals alone.
fn names() -> Vec<String> {
    let mut names = vec!["/topic".to_owned()];
    let mut all = Vec::new();
    for _ in 0..5 {
        names = names.iter().flat_map(|n| ["a", "b", "c", "d"].map(|s| format!("{n}/{s}"))).collect();
        all.extend(names.iter().cloned());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_allowed_pattern_matches_only_allowed_destinations(
        rules in prop::collection::vec(any_rule(), 1..5),
        pattern in path(false),
    ) {
        let access = Access::new(rules);
        let pattern = Pattern::parse(&pattern).unwrap();
        let mut user = Principal::user("u");
        user.claims.insert("rooms".into(), ["a".into()].into());
        let allowed = access.may_pattern(&user, Action::Subscribe, &pattern);
        for name in names().iter().filter(|n| allowed && pattern.matches(&Destination::internal(n))) {
            prop_assert!(access.may(&user, Action::Subscribe, name), "{pattern:?} {name}");
        }
    }
}
