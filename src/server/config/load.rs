//! Defaults, file and environment, one over the other.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::{ConfigError, Problem, reworded};
use super::{Config, source};

/// A configuration and the text that it came from, for messages.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is set; flags may still change it before [`Loaded::check`].
    pub config: Config,
    text: Option<(PathBuf, String)>,
}

impl Loaded {
    /// Reads the file, if there is one, and then the variables.
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError::Unreadable { path: path.into(), why: error.to_string() })?;
                Some((path.to_owned(), text))
            }
        };
        Self::parse(text, variables)
    }

    /// Reads a text as if it stood in the file `path`.
    pub fn parse(
        text: Option<(PathBuf, String)>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = Table::new();
        if let Some((path, text)) = &text {
            // The text itself is read first: only there errors know their place.
            let located = |error: toml::de::Error| located(path, text, &error);
            toml::from_str::<Config>(text).map_err(located)?;
            table = toml::from_str(text).map_err(located)?;
        }
        let mut variables: Vec<_> =
            variables.into_iter().filter(|(name, value)| is_ours(name, value)).collect();
        variables.sort();
        for (name, value) in variables {
            table = with_variable(&table, &name, &value)
                .map_err(|message| ConfigError::Variable { name: name.clone(), message })?;
        }
        let config = table.try_into().map_err(|error: toml::de::Error| ConfigError::Variable {
            name: PREFIX.to_owned(),
            message: reworded(error.message()),
        })?;
        Ok(Self { config, text })
    }

    /// The configuration, if it can be used: see [`Config::check`].
    pub fn check(self) -> Result<Config, ConfigError> {
        let mut problems = self.config.check();
        if problems.is_empty() {
            return Ok(self.config);
        }
        for problem in &mut problems {
            problem.place = self.place(problem);
        }
        Err(ConfigError::Unusable(problems))
    }

    fn place(&self, problem: &Problem) -> Option<(PathBuf, usize, usize)> {
        let (path, text) = self.text.as_ref()?;
        let (line, column) = source::position_of(text, &problem.key)?;
        Some((path.clone(), line, column))
    }
}

fn located(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = source::position(text, error.span().map_or(0, |span| span.start));
    let key =
        if error.message().starts_with("unknown field") { String::new() } else { source::key_at(text, line) };
    ConfigError::Text { path: path.into(), line, column, key, message: reworded(error.message()) }
}

/// Whether a variable sets a key. An empty one is as good as none. In Kubernetes a service called stompede puts
/// `STOMPEDE_PORT` and more into every container; they are not meant for us.
fn is_ours(name: &str, value: &str) -> bool {
    let Some(key) = name.strip_prefix(PREFIX) else { return false };
    let injected = key == "PORT" || key.starts_with("PORT_") || key.starts_with("SERVICE_");
    !value.is_empty() && !injected && !["CONFIG", "LOG"].contains(&key)
}

/// Sets the key of a variable in the reading that fits: a number, truth value or list if that is what the key takes, else
/// the text as it stands, else a list of texts between commas.
fn with_variable(table: &Table, name: &str, value: &str) -> Result<Table, String> {
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    let path: Vec<&str> = key.split("__").collect();
    let list = value.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
    let readings = [parsed(value), Some(Value::String(value.to_owned())), Some(Value::Array(list))];
    let mut fault = String::new();
    for reading in readings.into_iter().flatten() {
        let mut changed = table.clone();
        set(&mut changed, &path, reading)?;
        match changed.clone().try_into::<Config>() {
            Ok(_) => return Ok(changed),
            Err(error) if fault.is_empty() => fault = reworded(error.message()),
            Err(_) => {}
        }
    }
    Err(fault)
}

/// A TOML value other than a text.
fn parsed(value: &str) -> Option<Value> {
    let mut table = toml::from_str::<Table>(&format!("value = {value}")).ok()?;
    let value = table.remove("value").filter(|value| !value.is_str());
    value.filter(|_| table.is_empty())
}

fn set(table: &mut Table, path: &[&str], value: Value) -> Result<(), String> {
    match path {
        [] => Ok(()),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => {
            let inner = table.entry((*key).to_owned()).or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| format!("{key} has no keys of its own"))?;
            set(inner, rest, value)
        }
    }
}

const PREFIX: &str = "STOMPEDE_";
