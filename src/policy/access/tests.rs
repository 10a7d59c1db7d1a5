use proptest::prelude::*;

use super::*;
use crate::model::Destination;
use crate::policy::hooks::{Ask, HookRule};

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

/// Access with one hook on subscribe and publish, and these rules before those by default.
fn hooked(patterns: &[&str], ask: Ask, mut rules: Vec<AccessRule>) -> Access {
    rules.extend(default_rules("/topic/chat/", "/app/chat/"));
    let hook = HookRule {
        name: "h".into(),
        events: vec![HookEvent::Subscribe, HookEvent::Publish],
        patterns: patterns.iter().map(|text| RulePattern::parse(text).unwrap()).collect(),
        ask,
        authenticates: false,
    };
    Access::new(rules).with_hooks(HookRules::new(vec![hook]))
}

const ASKED: Ruling = Ruling::Asked(HookId(0));

#[test]
fn a_backend_decides_what_rules_leave_open_and_nothing_else() {
    let rules = vec![
        rule("/topic/a/never", "service"),
        rule("/topic/a/free", "signed-in"),
        rule("/topic/a/own", "hook"),
    ];
    let access = hooked(&["/topic/a/*", "/topic/chat/*"], Ask::Undecided, rules);
    for (destination, expected) in [
        ("/topic/a/never", Ruling::Denied),
        ("/topic/a/free", Ruling::Allowed),
        ("/topic/a/own", ASKED),
        ("/topic/a/any", ASKED),
        ("/topic/b", Ruling::Denied),
        ("/topic/chat/42", Ruling::Allowed),
        ("/topic/chat/43", ASKED),
        ("/topic/chat/43/events", Ruling::Denied),
    ] {
        assert_eq!(access.rule(&alice(), Action::Subscribe, destination), expected, "{destination}");
        let may = access.may(&alice(), Action::Subscribe, destination);
        assert_eq!(may, expected == Ruling::Allowed, "{destination}: nobody was asked");
    }
    // With the right to listen goes what rules leave to the hook; standing in for the application does not.
    assert_eq!(access.rule(&alice(), Action::Presence, "/topic/chat/43"), ASKED);
    assert_eq!(access.rule(&alice(), Action::History, "/topic/chat/43"), ASKED);
    assert_eq!(access.rule(&alice(), Action::Handle, "/topic/a/any"), Ruling::Denied);
    assert_eq!(access.rule(&Principal::anonymous(), Action::Subscribe, "/topic/a/any"), ASKED);
    assert_eq!(access.rule(&Principal::service("s"), Action::Subscribe, "/topic/a/any"), Ruling::Allowed);
}

#[test]
fn a_backend_that_wants_to_hear_of_everything_is_asked_about_what_rules_allow() {
    let rules = vec![rule("/topic/a/never", "service"), rule("/topic/a/free", "signed-in")];
    let access = hooked(&["/topic/a/*", "/topic/chat/*"], Ask::Always, rules);
    assert_eq!(access.rule(&alice(), Action::Subscribe, "/topic/a/never"), Ruling::Denied);
    assert_eq!(access.rule(&alice(), Action::Subscribe, "/topic/a/free"), ASKED);
    assert_eq!(access.rule(&alice(), Action::Presence, "/topic/chat/42"), Ruling::Allowed);
    let tester = Principal { unrestricted: true, ..alice() };
    assert_eq!(access.rule(&tester, Action::Send, "/topic/a/never"), ASKED);
    assert_eq!(access.rule(&Principal::service("s"), Action::Send, "/topic/a/free"), Ruling::Allowed);
}

#[test]
fn a_backend_decides_about_wildcards_that_are_its_own_altogether() {
    let ruling = |ask, rules, text| {
        hooked(&["/topic/a/**"], ask, rules).rule_pattern(&alice(), Action::Subscribe, &pattern(text))
    };
    for (text, expected) in [
        ("/topic/a/*", ASKED),
        ("/topic/a/**", ASKED),
        ("/topic/**", Ruling::Denied),
        ("/topic/*/b", Ruling::Denied),
    ] {
        assert_eq!(ruling(Ask::Undecided, vec![], text), expected, "{text}");
    }
    // A part that is denied is not made good by a word on another part.
    assert_eq!(
        ruling(Ask::Undecided, vec![rule("/topic/a/secret", "service")], "/topic/a/*"),
        Ruling::Denied
    );
    let free = || vec![rule("/topic/**", "anyone")];
    assert_eq!(ruling(Ask::Undecided, free(), "/topic/**"), Ruling::Allowed);
    assert_eq!(ruling(Ask::Always, free(), "/topic/**"), ASKED);
    assert_eq!(ruling(Ask::Always, free(), "/topic/b/*"), Ruling::Allowed);
}

#[test]
fn of_several_backends_one_decides_about_all_that_a_wildcard_matches_or_nobody() {
    use Ask::{Always, Undecided};
    let (wide, narrow, other) = ("/topic/**", "/topic/a/*", "/topic/b/*");
    let hook = |&(pattern, ask): &(&str, Ask)| HookRule {
        name: pattern.into(),
        events: vec![HookEvent::Subscribe],
        patterns: vec![RulePattern::parse(pattern).unwrap()],
        ask,
        authenticates: false,
    };
    let ruling = |rules, hooks: [(&str, Ask); 2], text| {
        let hooks = HookRules::new(hooks.iter().map(hook).collect());
        Access::new(rules).with_hooks(hooks).rule_pattern(&alice(), Action::Subscribe, &pattern(text))
    };
    let asked = |place| Ruling::Asked(HookId(place));
    for (hooks, text, expected) in [
        ([(narrow, Undecided), (wide, Undecided)], "/topic/a/*", asked(0)),
        ([(narrow, Undecided), (wide, Undecided)], "/topic/b/*", asked(1)),
        ([(narrow, Undecided), (wide, Undecided)], "/topic/*/*", Ruling::Denied),
        ([(narrow, Undecided), (wide, Undecided)], "/topic/**", Ruling::Denied),
        ([(narrow, Always), (wide, Undecided)], "/topic/**", Ruling::Denied),
        ([(wide, Undecided), (narrow, Undecided)], "/topic/**", asked(0)),
    ] {
        assert_eq!(ruling(vec![], hooks, text), expected, "{hooks:?} {text}");
    }
    for (hooks, text, expected) in [
        ([(narrow, Always), (other, Always)], "/topic/**", Ruling::Denied),
        ([(narrow, Always), (other, Always)], "/topic/*/x", Ruling::Denied),
        ([(narrow, Always), (other, Always)], "/topic/b/**", asked(1)),
        ([(narrow, Always), (other, Always)], "/topic/c/*", Ruling::Allowed),
        ([(narrow, Always), (wide, Always)], "/topic/**", Ruling::Denied),
        ([(wide, Always), (narrow, Always)], "/topic/**", asked(0)),
        ([(narrow, Undecided), (wide, Always)], "/topic/**", asked(1)),
    ] {
        assert_eq!(ruling(vec![rule("/topic/**", "anyone")], hooks, text), expected, "{hooks:?} {text}");
    }
}
