//! A hub and a cache.

use connector_core::connector::hub::{Hub, HubError, Origin};
use connector_core::{Cancel, Error};
use connector_tests::{HubServer, MODEL, fixture, tree};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server with the Llama of the fixtures, and an empty cache.
pub struct Case {
    pub server: HubServer,
    pub dir: tempfile::TempDir,
    pub hub: Hub,
}

impl Case {
    pub fn new() -> Self {
        let server = HubServer::start(&fixture("llama/hf"));
        let dir = tempfile::tempdir().unwrap();
        let mut hub = Hub::from_env();
        (hub.endpoint, hub.cache) = (server.endpoint(), dir.path().join("hub"));
        (hub.token, hub.offline) = (None, false);
        hub.longest_pause = Duration::from_millis(10);
        Case { server, dir, hub }
    }

    pub fn fetch(&self, revision: &str) -> Result<PathBuf, Error> {
        let origin = Origin::new(format!("hf://{MODEL}{revision}")).unwrap();
        origin.fetch(&self.hub, &(), &Cancel::default())
    }

    /// The failure and its advice.
    pub fn fails(&self, revision: &str) -> (HubError, String) {
        match self.fetch(revision) {
            Err(Error::Hub(error)) => {
                let help = error.help().unwrap_or_default();
                (error, help)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The names of everything in the cache.
    pub fn names(&self) -> Vec<String> {
        tree(self.dir.path()).into_keys().collect()
    }

    /// Fails if anything in the cache is not what the hub has.
    #[track_caller]
    pub fn assert_sound(&self) {
        let model = self.hub.cache.join("models--org--tiny");
        let files = fs::read_dir(fixture("llama/hf")).unwrap();
        let contents: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        for blob in fs::read_dir(model.join("blobs")).into_iter().flatten() {
            let blob = blob.unwrap().path();
            assert!(contents.contains(&fs::read(&blob).unwrap()), "{}", blob.display());
        }
        assert!(!model.join("refs/main").exists() || self.fetch("").is_ok());
    }
}

#[track_caller]
pub fn assert_same(snapshot: &Path, dir: &Path) {
    // Links are followed: what is compared are names and bytes.
    let read = |dir: &Path| {
        let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
        let named =
            files.map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap()));
        named.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert!(read(snapshot) == read(dir), "{} differs", snapshot.display());
}
