//! `stompede api-key`.

use clap::Args;

use super::{CliError, note, print};
use crate::policy::Scope;
use crate::policy::api_keys::{hash_of_key, key_of};

/// What the key shall be good for.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stompede api-key --name shop --scope publish --scope presence\n\n\
    The key itself goes to standard error and stands nowhere else; what the configuration takes goes to standard output.")]
pub(super) struct ApiKeyArguments {
    /// Who uses it; `user-name` of what it publishes
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it is good for: publish, presence, rooms, queues, admin; may be given several times, all without any
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Vec<Scope>,
}

/// Makes a key and prints the table of the configuration that knows it.
pub(super) fn api_key(arguments: &ApiKeyArguments) -> Result<(), CliError> {
    let ApiKeyArguments { name, scope } = arguments;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(CliError::Usage(
            "a name has at least one character and no control characters".to_owned(),
        ));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(CliError::failed)?;
    let key = key_of(random);
    let scopes: &[Scope] = if scope.is_empty() { &Scope::ALL } else { scope };
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    let table = toml::Table::from_iter([
        ("name".to_owned(), name.as_str().into()),
        ("hash".to_owned(), hash_of_key(&key).into()),
        ("scopes".to_owned(), scopes.into()),
    ]);
    let lines: Vec<String> = table.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    note(&format_args!("the key is {key}"));
    print(&format!("[[api.key]]\n{}", lines.join("\n"))).map_err(CliError::failed)
}

fn scope(text: &str) -> Result<Scope, String> {
    let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    let known = Scope::ALL.into_iter().find(|scope| scope.name() == text);
    known.ok_or_else(|| format!("there are the scopes {}", names.join(", ")))
}
