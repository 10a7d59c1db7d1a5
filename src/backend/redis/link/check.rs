//! Looks once, before the broker starts, whether what is configured can ever work.

use std::time::Duration;

use redis::Value;

use crate::backend::redis::keys::{Keys, Partition};

use super::canary::Canary;
use super::cluster::survey;
use super::dial::{DialError, Dialler, Primary, ask};
use super::driver::sentinels;
use super::options::{Address, Options, OptionsError, Place};

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is configured cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Redis is there, and will not do.
    #[error("Redis at {address} {why}")]
    Unfit {
        /// Where.
        address: String,
        /// What is wrong with it; names the command that it refuses.
        why: String,
    },
}

/// Asks Redis for all that the broker needs of it. That it is not there, or not ready yet, is no error: the broker starts, is
/// not ready, and tries again.
///
/// # Errors
/// Something is wrong that will not pass by itself: files, versions, passwords, permissions, settings.
pub async fn check(options: &Options) -> Result<(), StartError> {
    let dialler = Dialler::of(options)?;
    for address in primaries(options, &dialler).await? {
        let tried = async {
            let primary = dialler.primary(&address).await?;
            let probing = probe(primary, options);
            tokio::time::timeout(PROBE_MAX, probing).await.unwrap_or(Err(DialError::Silent))
        };
        refuse(&address, tried.await)?;
    }
    Ok(())
}

/// Where the servers are that can be found now.
async fn primaries(options: &Options, dialler: &Dialler) -> Result<Vec<Address>, StartError> {
    match &options.place {
        Place::Standalone(address) => Ok(vec![address.clone()]),
        Place::Sentinel { .. } => {
            let Some(sentinels) = sentinels(options, dialler) else { return Ok(Vec::new()) };
            for address in &sentinels.addresses {
                refuse(address, sentinels.dialler.any(address).await.map(drop))?;
            }
            Ok(sentinels.primary().await.into_iter().collect())
        }
        Place::Cluster(seeds) => {
            for seed in seeds {
                let asked = async {
                    let mut pipe = dialler.any(seed).await?;
                    ask(&mut pipe, "CLUSTER", &[b"CLUSTER", b"SLOTS"]).await
                };
                refuse(seed, asked.await.map(drop))?;
            }
            let owners = survey(dialler.clone(), seeds.clone()).await.unwrap_or_default();
            let mut owners: Vec<Address> = owners.into_iter().flatten().collect();
            owners.sort();
            owners.dedup();
            Ok(owners)
        }
    }
}

/// Does once what is done all the time.
async fn probe(mut primary: Primary, options: &Options) -> Result<(), DialError> {
    let pipe = &mut primary.pipe;
    let channel = Canary::new().channel(&Keys::new(&options.prefix), Partition(0));
    let (name, text) = (channel.name.as_bytes(), super::canary::CANARY.text.as_bytes());
    let cluster = matches!(options.place, Place::Cluster(_));
    // A script would be refused without a word about which command it was.
    refuse_nothing_local(ask(pipe, "SPUBLISH", &[b"SPUBLISH", name, b""]).await, cluster)?;
    let digest = match ask(pipe, "SCRIPT", &[b"SCRIPT", b"LOAD", text]).await? {
        Value::BulkString(digest) => digest,
        _ => Vec::new(),
    };
    for (command, what) in [("EVAL", text), ("EVALSHA", &digest)] {
        let question: [&[u8]; 6] = [command.as_bytes(), what, b"0", b"", name, b""];
        refuse_nothing_local(ask(pipe, command, &question).await, cluster)?;
    }
    refuse_nothing_local(ask(pipe, "SSUBSCRIBE", &[b"SSUBSCRIBE", name]).await, cluster)
}

/// The canary's channel may lie on another server of a cluster.
fn refuse_nothing_local(said: Result<Value, DialError>, is_cluster: bool) -> Result<(), DialError> {
    match said {
        Err(DialError::Refused { code, text, .. })
            if is_cluster && (code == "MOVED" || text.contains("non local key")) =>
        {
            Ok(())
        }
        said => said.map(drop),
    }
}

fn refuse(address: &Address, tried: Result<(), DialError>) -> Result<(), StartError> {
    match tried {
        Err(error) if error.is_final() => {
            Err(StartError::Unfit { address: address.to_string(), why: error.to_string() })
        }
        _ => Ok(()),
    }
}

const PROBE_MAX: Duration = Duration::from_secs(2);
