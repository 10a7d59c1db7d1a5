//! A backend that is asked, and takes its time: a random walk with a judge who answers late, in any order, with yes, with no, or not
//! at all.
//!
//! Judged are: nobody hears what the backend has not allowed; each frame that asks for a RECEIPT gets it, or a refusal, once and
//! in its order; who leaves while he waits leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use stompede::broker::{Accepted, Progress};
use stompede::model::{
    Allowance, CloseReason, Content, DestinationRule, DestinationRules, Identity, Judged, Outgoing, Pattern,
    Principal, Refusal, Retention,
};
use stompede::policy::access::RulePattern;
use stompede::policy::hooks::{Ask, Case, HookEvent, HookRule, HookRules, Judge, Told};
use stompede::routing::desk::Answered;
use stompede_protocol::{Frame, Headers, Send};

use crate::line::Heard;
use crate::person::{Person, body};
use crate::walk::Dice;
use crate::world::{Guest, World, mixed};

/// Answers when it is told to.
#[derive(Default)]
struct Script {
    open: Mutex<Vec<(Case, Told)>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Judge for Script {
    fn ask(&self, case: Case, told: Told) {
        self.open.lock().push((case, told));
    }
}

/// What the backend thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opinion {
    Yes,
    No,
    /// It fails.
    None,
}

fn opinion(text: &str) -> Opinion {
    let seed = text.bytes().fold(7, |seed, byte| mixed(seed ^ u64::from(byte)));
    match seed >> 20 & 3 {
        0 => Opinion::No,
        1 => Opinion::None,
        _ => Opinion::Yes,
    }
}

fn of_case(case: &Case) -> Opinion {
    match case.event {
        HookEvent::Subscribe => opinion(&format!("{}{}", case.principal.name(), case.destination)),
        _ => opinion(std::str::from_utf8(&case.body).expect("bodies are text")),
    }
}

fn answer(opinion: Opinion, keep_ms: u64) -> Judged {
    match opinion {
        Opinion::Yes => Judged { verdict: Ok(Box::default()), keep_ms },
        Opinion::No => Judged { verdict: Err(CloseReason::Forbidden.into()), keep_ms },
        Opinion::None => Judged::failed(CloseReason::Unavailable.into()),
    }
}

/// A world with one hook for everything under `/topic/h/`.
fn asked() -> (World, Arc<Script>) {
    let rule = HookRule {
        name: "h".into(),
        events: vec![HookEvent::Subscribe, HookEvent::Publish],
        patterns: vec![RulePattern::parse("/topic/h/**").expect("it is one")],
        ask: Ask::Undecided,
        authenticates: false,
    };
    let world = World::with(|setup| {
        setup.guarded = true;
        setup.hooks = HookRules::new(vec![rule]);
    });
    let script = Arc::<Script>::default();
    let judge: Arc<dyn Judge> = Arc::<Script>::clone(&script);
    world.broker().judge_by(judge);
    (world, script)
}

/// One client, and what is known of it.
struct Account {
    person: Person,
    user: String,
    /// Receipts that were asked for, in order.
    asked: Vec<String>,
    /// What was said to them.
    told: Vec<String>,
    heard: Vec<(String, String)>,
    gone: bool,
}

impl Account {
    fn listens(&mut self) {
        for heard in self.person.heard() {
            match heard {
                Heard::Receipt(id, _) => self.told.push(id),
                Heard::Message(message) if message.headers.get("event") == Some("error") => {
                    self.told.push(receipt_of(&message));
                }
                Heard::Message(message) => {
                    let destination = message.headers.get("destination").unwrap_or_default().to_owned();
                    self.heard.push((destination, body(&message)));
                }
                Heard::End(_) => self.gone = true,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn receipt_of(error: &Frame) -> String {
    let text = body(error);
    let (_, rest) = text.split_once("\"receiptId\":\"").unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().expect("a first part").to_owned()
}

fn walk(seed: u64) {
    let (world, script) = asked();
    let mut dice = Dice::new(seed);
    let mut accounts: Vec<_> = (0..5)
        .map(|number| {
            let user = format!("user-{number}");
            let person = world.connect(Guest::named(&user));
            person.writes(b"SUBSCRIBE\nid:errors\ndestination:/user/queue/errors\n\n\0");
            Account { person, user, asked: Vec::new(), told: Vec::new(), heard: Vec::new(), gone: false }
        })
        .collect();
    for step in 0..400 {
        let turn = dice.below(accounts.len());
        let account = &mut accounts[turn];
        let destination = format!("/topic/h/{}", dice.below(3));
        match dice.below(20) {
            0..6 => {
                let frame = format!("SUBSCRIBE\nid:{step}\ndestination:{destination}\nreceipt:{step}\n\n\0");
                account.person.writes(frame.as_bytes());
                account.asked.push(step.to_string());
            }
            6..12 => {
                let frame = format!("SEND\ndestination:{destination}\nreceipt:{step}\n\nbody-{step}\0");
                account.person.writes(frame.as_bytes());
                account.asked.push(step.to_string());
            }
            12 if dice.below(8) == 0 => account.person.vanishes(),
            _ => {
                let open = script.open.lock().len();
                if open > 0 {
                    let (case, told) = script.open.lock().swap_remove(dice.below(open));
                    let keep_ms =
                        if case.event == HookEvent::Subscribe { dice.below(2) as u64 * 1_000 } else { 0 };
                    told(answer(of_case(&case), keep_ms));
                }
                world.core.borrow_mut().settle();
                world.runs_for(dice.below(50) as u64);
            }
        }
        accounts.iter_mut().for_each(Account::listens);
    }
    // Whoever waits still is answered.
    loop {
        let Some((case, told)) = script.open.lock().pop() else { break };
        told(answer(of_case(&case), 0));
        world.core.borrow_mut().settle();
        accounts.iter_mut().for_each(Account::listens);
    }
    let mut allowed = BTreeSet::new();
    for account in &accounts {
        for destination in (0..3).map(|number| format!("/topic/h/{number}")) {
            if opinion(&format!("{}{destination}", account.user)) == Opinion::Yes {
                allowed.insert((account.user.clone(), destination));
            }
        }
        let is_gone = account.gone || account.person.is_gone();
        assert!(
            account.asked.starts_with(&account.told),
            "seed {seed}: {:?} {:?}",
            account.asked,
            account.told
        );
        assert!(
            is_gone || account.asked == account.told,
            "seed {seed}: {:?} {:?}",
            account.asked,
            account.told
        );
    }
    for account in &accounts {
        for (destination, body) in &account.heard {
            assert_eq!(opinion(body), Opinion::Yes, "seed {seed}: {} heard {body}", account.user);
            let may = allowed.contains(&(account.user.clone(), destination.clone()));
            assert!(may, "seed {seed}: {} heard {destination}", account.user);
        }
    }
    let heard: usize = accounts.iter().map(|account| account.heard.len()).sum();
    assert!(heard > 0 || accounts.iter().all(|account| account.gone), "seed {seed}: nobody heard anything");
    for account in &accounts {
        account.person.vanishes();
    }
    world.runs_for(20_000);
    world.is_deserted();
}

#[test]
fn nobody_hears_what_the_backend_has_not_allowed_and_receipts_come_once_in_order() {
    for seed in 0..60 {
        walk(seed);
    }
}

#[test]
fn a_session_that_ends_while_it_is_asked_about_leaves_nothing_and_a_late_answer_does_nothing() {
    let (world, script) = asked();
    let alice = world.connect(Guest::named("alice"));
    alice.writes(b"SUBSCRIBE\nid:1\ndestination:/topic/h/0\n\n\0SEND\ndestination:/topic/h/0\n\nx\0");
    assert_eq!(script.open.lock().len(), 1, "one at a time");
    alice.vanishes();
    let (_, told) = script.open.lock().pop().unwrap();
    told(answer(Opinion::Yes, 0));
    world.core.borrow_mut().settle();
    world.runs_for(20_000);
    world.is_deserted();
    assert!(script.open.lock().is_empty(), "what came behind it is not asked any more");
}

#[test]
fn a_yes_to_a_subscription_that_was_ended_meanwhile_changes_nothing() {
    let (world, script) = asked();
    let alice = world.connect(Guest::named("alice"));
    alice.writes(b"SUBSCRIBE\nid:1\ndestination:/topic/h/0\nreceipt:r\n\n\0");
    let (_, told) = script.open.lock().pop().expect("a question");
    let service = world.connect(Guest::named("service"));
    service
        .writes(b"SUBSCRIBE\nid:1\ndestination:/app/stompede/unsubscribe\nuser:alice\nfrom:/topic/h/0\n\n\0");
    assert!(body(&service.message()).contains("\"subscriptions\":1"));
    told(answer(Opinion::Yes, 60_000));
    world.core.borrow_mut().settle();
    alice.hears(&["RECEIPT r"]);
    service.sends("/topic/h/0", "x");
    alice.hears(&[]);
    // What was said to a question from before is not kept; the session goes on, and may ask again.
    alice.writes(b"SUBSCRIBE\nid:1\ndestination:/topic/h/0\n\n\0");
    let (_, told) = script.open.lock().pop().expect("another question");
    told(answer(Opinion::Yes, 0));
    world.core.borrow_mut().settle();
    service.sends("/topic/h/0", "y");
    assert_eq!(body(&alice.message()), "y");
    alice.vanishes();
    service.vanishes();
    world.runs_for(20_000);
    world.is_deserted();
}

/// Says at once who it is.
#[derive(Debug)]
struct Introduces(Identity);

impl Judge for Introduces {
    fn ask(&self, _case: Case, told: Told) {
        let allowance = Allowance { identity: self.0.clone(), ..Allowance::default() };
        told(Judged { verdict: Ok(Box::new(allowance)), keep_ms: 0 });
    }
}

/// A world in which a backend says this of everybody who comes.
fn introduced(authenticates: bool, identity: Identity) -> World {
    let rule = HookRule {
        name: "h".into(),
        events: vec![HookEvent::Connect],
        patterns: Vec::new(),
        ask: Ask::Undecided,
        authenticates,
    };
    let world = World::with(|setup| {
        setup.guarded = true;
        setup.hooks = HookRules::new(vec![rule]);
    });
    world.broker().judge_by(Arc::new(Introduces(identity)));
    world
}

#[test]
fn what_a_backend_has_said_of_a_session_holds_whatever_token_follows() {
    for authenticates in [false, true] {
        let end_s = World::guarded().core.borrow().now().wall_s() + 100;
        let identity = Identity {
            user: Some("ali".into()),
            claims: [("rooms".into(), Box::from(["7".into()]))].into(),
            expires_s: Some(end_s),
            ..Identity::default()
        };
        let world = introduced(authenticates, identity);
        let alice = world.connect(Guest { ttl_s: 60, ..Guest::named("alice") });
        alice.subscribes("/topic/chat/7");
        // With a token of its own the session is the token's owner; else whoever the backend says it is.
        let owner = if authenticates { "ali" } else { "alice" };
        let fresh = world.token(&Guest { ttl_s: 600, ..Guest::named(owner) });
        alice.heard();
        alice.sends_with("/app/auth/refresh", &[("receipt", "r")], &fresh);
        alice.hears(&["RECEIPT r"]);
        let bob = world.connect(Guest { ttl_s: 60, ..Guest::named("bob") });
        bob.sends("/app/auth/refresh", &world.token(&Guest { ttl_s: 30, ..Guest::named("eve") }));
        bob.is_thrown_out("unauthorized", "another user");
        world.runs_for(99_000);
        assert!(!alice.is_gone(), "no sooner than the backend has said");
        alice.heard();
        alice.sends("/app/chat/7/send", r#"{"type":"TEXT","content":"hi"}"#);
        assert_eq!(alice.message().headers.get("user-name"), Some("ali"));
        world.runs_for(1_100);
        alice.is_thrown_out("token-expired", "expired");
    }
}

#[test]
fn the_rest_of_a_transaction_whose_sender_vanished_is_told_of_too() {
    let rule = HookRule {
        name: "h".into(),
        events: vec![HookEvent::Offline],
        patterns: vec![RulePattern::parse("/user/*/queue/messages").expect("it is one")],
        ask: Ask::Undecided,
        authenticates: false,
    };
    let world = World::with(|setup| {
        setup.limits.inbox_messages_max = 4;
        setup.hooks = HookRules::new(vec![rule]);
    });
    let service = world.connect_as("service-h");
    service.subscribes("/queue/stompede.hook.h");
    let [alice, bob] = [(0, "alice"), (1, "bob")]
        .map(|(shard, name)| world.connect(Guest { shard: Some(shard), ..Guest::named(name) }));
    bob.subscribes("/topic/a");
    world.holds_still();
    alice.says(|client| client.begin("t", &[]));
    for n in 0..10 {
        alice.sends_with("/topic/a", &[("transaction", "t")], &n.to_string());
    }
    alice.sends_with("/user/zoe/queue/messages", &[("transaction", "t")], "hi");
    alice.says(|client| client.commit("t", &[("receipt", "r")]));
    while world.steps_line() {}
    assert!(alice.heard().is_empty(), "all of it found room at once");
    alice.vanishes();
    world.moves_again();
    world.runs_for(1_000);
    assert_eq!(bob.messages().len(), 10);
    let told: Vec<_> = service.messages().iter().map(body).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("\"users\":[\"zoe\"]"), "{told:?}");
}

/// What an errand of one SEND to the application comes to whose backend publishes `count` messages to a topic that a slow store
/// keeps: outcomes of its steps.
fn errand_of_several(count: usize, is_full: bool) -> (World, Arc<Script>, Vec<Result<Accepted, Refusal>>) {
    let kept = "/topic/kept";
    let history = Some(Retention { messages_max: 1_000, bytes_max: usize::MAX, age_ms_max: 60_000 });
    let pattern = Pattern::parse(kept).expect("a pattern");
    let rule = HookRule {
        name: "h".into(),
        events: vec![HookEvent::Message],
        patterns: vec![RulePattern::parse("/app/calc/**").expect("it is one")],
        ask: Ask::Undecided,
        authenticates: false,
    };
    let world = World::with(|setup| {
        setup.late_store = true;
        setup.rules =
            DestinationRules::new(vec![DestinationRule { pattern, overflow: None, history, offline: None }]);
        setup.hooks = HookRules::new(vec![rule]);
    });
    world.store().fills(is_full);
    let script = Arc::<Script>::default();
    let judge: Arc<dyn Judge> = Arc::<Script>::clone(&script);
    world.broker().judge_by(judge);
    let bob = world.connect_as("bob");
    bob.subscribes(kept);
    let (broker, now) = (Arc::clone(&world.broker()), world.core.borrow().now());
    let send = Send {
        destination: "/app/calc/add".into(),
        headers: [("idempotency-key", "k")].into_iter().collect(),
        body: "1".into(),
        receipt: None,
    };
    let answers = Arc::new(Mutex::new(BTreeMap::new()));
    let mut answered = |at: usize| -> Answered {
        let answers = Arc::clone(&answers);
        Box::new(move |answer| drop(answers.lock().insert(at, answer)))
    };
    let principal = Arc::new(Principal::service("shop"));
    let mut errand = broker.admit_errand(&principal, vec![send], now).expect("it may");
    assert_eq!(broker.run_errand(&mut errand, now, &mut answered), Ok(Progress::Waits));
    let (_, told) = script.open.lock().pop().expect("it is asked");
    let outgoing = |n: usize| {
        let content = Content { headers: Headers::default(), body: n.to_string().into() };
        Outgoing { destination: kept.into(), content }
    };
    let allowance = Allowance { messages: (0..count).map(outgoing).collect(), ..Allowance::default() };
    told(Judged { verdict: Ok(Box::new(allowance)), keep_ms: 0 });
    while broker.run_errand(&mut errand, now, &mut answered) != Ok(Progress::Done) {
        assert!(errand.posted() > 0, "some of it finds room");
        world.moves_again();
    }
    assert_eq!((errand.posted(), errand.len()), (count + 1, count + 1));
    world.moves_again();
    assert_eq!(bob.messages().len(), if is_full { 0 } else { count });
    assert!((0..count).all(|at| errand.goes_on(at) && errand.is_late(at)), "it is safe later");
    assert!(!errand.goes_on(count));
    let outcomes = (0..=count).map(|at| errand.accepted(at, answers.lock().get(&at))).collect();
    (world, script, outcomes)
}

/// What becomes of the same again, or of another body with its key: how often the backend is asked, and how far it comes.
fn again(world: &World, script: &Script, body: &str) -> (usize, Result<Progress, CloseReason>) {
    let (broker, now) = (Arc::clone(&world.broker()), world.core.borrow().now());
    let headers = [("idempotency-key", "k")].into_iter().collect();
    let send =
        Send { destination: "/app/calc/add".into(), headers, body: body.to_owned().into(), receipt: None };
    let mut errand =
        broker.admit_errand(&Arc::new(Principal::service("shop")), vec![send], now).expect("it may");
    let mut answered = |_: usize| -> Answered { Box::new(|_| {}) };
    let run = broker.run_errand(&mut errand, now, &mut answered).map_err(|refusal| refusal.reason);
    (script.open.lock().drain(..).count(), run)
}

#[test]
fn what_a_backend_publishes_over_http_is_answered_by_the_store() {
    // More than the store takes at once.
    let (world, script, kept) = errand_of_several(40, false);
    let positions: Vec<_> =
        kept.iter().filter_map(|kept| kept.as_ref().expect("it is kept").position).collect();
    assert_eq!(positions.len(), 40);
    // Its key is used now,
    assert_eq!(again(&world, &script, "1"), (0, Ok(Progress::Done)));
    assert_eq!(again(&world, &script, "2"), (0, Err(CloseReason::Conflict)));
    let (world, script, lost) = errand_of_several(2, true);
    assert!(
        lost[..2].iter().all(|lost| lost.as_ref().is_err_and(|lost| lost.reason == CloseReason::StoreFull))
    );
    // but not where a part of it was lost.
    assert_eq!(again(&world, &script, "2"), (1, Ok(Progress::Waits)));
}
