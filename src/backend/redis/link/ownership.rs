//! Which servers there are, and which of them owns which partition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::backend::redis::keys::Partition;

use super::line::{Line, State};
use super::options::Address;
use super::servers::{Server, ServerId};

impl Line {
    /// The one server that there is, wherever it is.
    pub(super) fn add_only_server(&self, address: Option<Address>) {
        let mut state = self.state.lock();
        let only = state.add_server(address);
        state.set_owners(|_| Some(only));
    }

    /// Where servers are that are known.
    pub(super) fn addresses(&self) -> Vec<Address> {
        self.state.lock().servers.values().filter_map(|known| known.address.clone()).collect()
    }

    /// The server at an address; it comes into being if there was none.
    pub(super) fn server_at(&self, address: Address) -> ServerId {
        let mut state = self.state.lock();
        let server = state.server_at(address);
        let is_new = !state.newcomers.is_empty();
        drop(state);
        if is_new {
            self.stirred.notify_one();
        }
        server
    }

    /// Takes the servers for whom nobody dials yet.
    pub(super) fn newcomers(&self) -> Vec<(ServerId, Option<Address>)> {
        let mut state = self.state.lock();
        let newcomers = std::mem::take(&mut state.newcomers);
        let address = |server| Some((server, state.servers.get(&server)?.address.clone()));
        newcomers.into_iter().filter_map(address).collect()
    }

    /// Who owns the partitions now, by what a server of the cluster has said.
    pub(super) fn set_owners(&self, owners: &[Option<Address>]) {
        let mut state = self.state.lock();
        let ids: Vec<Option<ServerId>> =
            owners.iter().map(|owner| owner.clone().map(|address| state.server_at(address))).collect();
        state.set_owners(|partition| ids.get(usize::from(partition.0)).copied().flatten());
    }

    /// It could not be learned who owns what.
    pub(super) fn set_trouble(&self, why: String) {
        self.state.lock().trouble = Some(why);
    }

    /// It is to be asked soon who owns what; `place` knows best.
    pub(super) fn ask_survey(&self, place: Option<Address>) {
        self.state.lock().ask_survey(place);
        self.stirred.notify_one();
    }

    /// Who is to be asked first who owns what, if that is wanted.
    pub(super) fn take_survey(&self) -> Option<Vec<Address>> {
        self.state.lock().survey.take()
    }

    /// A server does not want channels of a partition any more.
    pub(super) fn displace(&self, server: ServerId, partition: Partition, place: Address) {
        let mut state = self.state.lock();
        // It may be known already where they are heard instead.
        if state.lanes.owner(partition) == Some(server) {
            state.displaced.insert(partition);
            state.ask_survey(Some(place));
            drop(state);
            self.stirred.notify_one();
        }
    }

    /// A partition of a server.
    pub(super) fn partition_of(&self, server: ServerId) -> Option<Partition> {
        let state = self.state.lock();
        Partition::all().find(|partition| state.lanes.owner(*partition) == Some(server))
    }
}

impl State {
    fn add_server(&mut self, address: Option<Address>) -> ServerId {
        let id = ServerId(self.next_server);
        self.next_server += 1;
        self.servers.insert(id, Server::new(address));
        self.newcomers.push(id);
        id
    }

    fn server_at(&mut self, address: Address) -> ServerId {
        let known = self.servers.iter_mut().find(|(_, known)| known.address.as_ref() == Some(&address));
        match known {
            Some((id, known)) => {
                known.used = Instant::now();
                *id
            }
            None => self.add_server(Some(address)),
        }
    }

    fn ask_survey(&mut self, place: Option<Address>) {
        let places = self.survey.get_or_insert_default();
        places.extend(place.filter(|_| places.len() < SURVEY_PLACES_MAX));
    }

    fn set_owners(&mut self, owner: impl Fn(Partition) -> Option<ServerId>) {
        let mut moved: BTreeMap<ServerId, BTreeSet<Partition>> = BTreeMap::new();
        let displaced = std::mem::take(&mut self.displaced);
        for partition in Partition::all() {
            let new = owner(partition);
            let is_moved = self.lanes.owner(partition) != new || displaced.contains(&partition);
            self.lanes.set_owner(partition, new);
            if let Some(new) = new.filter(|_| is_moved) {
                moved.entry(new).or_default().insert(partition);
            }
        }
        for (server, partitions) in moved {
            self.channels.resubscribe(server, &partitions);
            self.wake_bus(Some(server));
        }
        let owners: BTreeSet<ServerId> = Partition::all().filter_map(&owner).collect();
        let is_whole = Partition::all().all(|partition| owner(partition).is_some());
        self.trouble = (!is_whole).then(|| "Redis: nobody owns some of the slots".to_owned());
        let now = Instant::now();
        for (id, known) in &mut self.servers {
            known.is_owner = owners.contains(id);
        }
        let unused = |known: &Server| !known.is_owner && now - known.used > UNUSED_MAX;
        for (id, mut gone) in self.servers.extract_if(.., |_, known| unused(known)) {
            gone.cut("is not needed");
            self.lanes.forget_server(id);
        }
        self.wake_takers();
    }
}

/// A server that owns nothing is remembered so long for what it may be asked meanwhile.
const UNUSED_MAX: Duration = Duration::from_secs(10);

/// Places that are remembered as knowing best.
const SURVEY_PLACES_MAX: usize = 4;
