//! The reason table of `docs/wire.md` is the one in the code.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use stompede::model::CloseReason;
use stompede::model::close::Retry;

/// Set to rewrite the table instead of comparing it.
const REWRITE: &str = "UPDATE_DOCS";

const BEGIN: &str = "<!-- reasons -->\n";
const END: &str = "<!-- /reasons -->";

#[test]
fn the_reason_table_of_the_contract_is_the_one_in_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wire.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("docs/wire.md has a begin mark");
    let (published, after) = rest.split_once(END).expect("docs/wire.md has an end mark");
    let table = table();
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        published, table,
        "run `{REWRITE}=1 cargo test --test it wire_table` and look at the difference"
    );
}

fn table() -> String {
    let mut table = String::from(
        "| `error-code` | what it means | session with an errors queue | WebSocket | SockJS | HTTP | retry |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for reason in CloseReason::ALL {
        let row = reason.row();
        let goes_on = if reason.spares_session() { "goes on" } else { "ends" };
        let retry = match row.retry {
            Retry::Never => "never".to_owned(),
            Retry::Changed => "once something has changed".to_owned(),
            Retry::AfterMs(ms) => format!("after {ms} ms"),
        };
        writeln!(
            table,
            "| `{}` | {} | {goes_on} | {} | {} | {} | {retry} |",
            row.code, row.text, row.websocket, row.sockjs, row.http
        )
        .unwrap();
    }
    table
}
