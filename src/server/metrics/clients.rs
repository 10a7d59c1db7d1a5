//! Who came, what they asked, what they were refused.

use crate::broker::counters::Counter;
use crate::broker::{Asked, Counters, Tally, Transport};
use crate::model::CloseReason;
use crate::server::callers::Callers;

use super::page::Page;

pub(super) fn write(page: &mut Page, counters: &Counters, callers: &Callers) {
    write_connections(page, counters, callers);
    write_frames(page, counters);
    write_refusals(page, counters, callers);
}

fn write_connections(page: &mut Page, counters: &Counters, callers: &Callers) {
    let mut open = page
        .gauge("stompede_connections", "Open connections that speak STOMP, by what their bytes travel on.");
    for transport in Transport::ALL {
        let (opened, closed) = (counters.opened(transport), counters.closed(transport));
        open.of("transport", transport.name(), opened.saturating_sub(closed));
    }
    let mut opened =
        page.counter("stompede_connections_opened_total", "Connections that have come to speak STOMP.");
    for transport in Transport::ALL {
        opened.of("transport", transport.name(), counters.opened(transport));
    }
    page.gauge(
        "stompede_sockets",
        "Accepted connections that are open, whatever is spoken: what limits.connections_max bounds.",
    )
    .is(callers.connections().total());
    let handshakes = &callers.handshakes;
    let mut ended = page.counter(
        "stompede_handshakes_total",
        "Handshakes that have ended. For stomp ok is CONNECTED, failed an end before it that the broker gave a reason for.",
    );
    for (kind, outcome) in
        [("tls", &handshakes.tls), ("proxy", &handshakes.proxy), ("websocket", &handshakes.websocket)]
    {
        ended.of_both([("kind", kind), ("result", "ok")], outcome.ok.value());
        ended.of_both([("kind", kind), ("result", "failed")], outcome.failed.value());
    }
    let (opened, failed) =
        (counters.sum(|tally| &tally.sessions_opened), counters.sum(|tally| &tally.sessions_failed));
    ended.of_both([("kind", "stomp"), ("result", "ok")], opened);
    ended.of_both([("kind", "stomp"), ("result", "failed")], failed);
}

fn write_frames(page: &mut Page, counters: &Counters) {
    let sum = |of: fn(&Tally) -> &Counter| counters.sum(of);
    page.counter("stompede_received_bytes_total", "Bytes read of clients that speak STOMP, inside TLS.")
        .is(sum(|tally| &tally.bytes_received));
    page.counter("stompede_sent_bytes_total", "Bytes written to clients that speak STOMP, inside TLS.")
        .is(sum(|tally| &tally.bytes_sent));
    let mut frames = page.counter(
        "stompede_frames_received_total",
        "Frames of clients; those of a transaction count with its COMMIT. BEGIN, ABORT and heart-beats are not counted.",
    );
    for asked in Asked::ALL {
        frames.of("command", asked.name(), counters.received(asked));
    }
    page.counter(
        "stompede_answers_sent_total",
        "Frames of the broker that are no MESSAGE: CONNECTED, RECEIPT, ERROR, heart-beats.",
    )
    .is(sum(|tally| &tally.answers_sent));
}

fn write_refusals(page: &mut Page, counters: &Counters, callers: &Callers) {
    let mut refusals = page.counter(
        "stompede_refusals_total",
        "Frames and connections that were refused, those included that ended a session, by the error-code of docs/wire.md.",
    );
    for reason in CloseReason::ALL {
        refusals.of("reason", reason.code(), counters.refusals(reason));
    }
    let mut closes =
        page.counter("stompede_sessions_closed_total", "Sessions that the broker ended, by the error-code.");
    for reason in CloseReason::ALL {
        closes.of("reason", reason.code(), counters.closes(reason));
    }
    let crossed = callers.connections().crossed();
    let mut limits = page.counter(
        "stompede_limits_crossed_total",
        "Limits crossed that share an error-code with others, by their names under [limits].",
    );
    let value = Counter::value;
    limits
        .of("limit", "connections_max", value(&crossed.total))
        .of("limit", "address_connections_max", value(&crossed.per_address))
        .of("limit", "user_connections_max", value(&crossed.per_user))
        .of("limit", "sends_per_second", counters.sum(|tally| &tally.connection_rate_crossed))
        .of("limit", "user_sends_per_second", counters.sum(|tally| &tally.user_rate_crossed));
}
