//! What a hub says about a model and its files.

use crate::Error;
use crate::checksum::Checksum;
use crate::client::{Asked, Client, bad_answer, broken, header};
use crate::model_ref::is_commit;
use hf_hub::{Repo, RepoType};
use serde::Deserialize;
use std::collections::HashSet;
use ureq::http::{HeaderName, header};

/// The longest listing read, in bytes.
const MAX_LISTING: u64 = 64 << 20;

/// The files of a model at a revision.
pub(crate) struct Listing {
    /// The commit that the revision is at, in hexadecimal.
    pub(crate) commit: String,
    /// Names as the hub has them: not to be used as paths.
    files: HashSet<String>,
}

impl Listing {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains(name)
    }
}

/// Asks for the files of the model.
pub(crate) fn list(client: &Client<'_>) -> Result<Listing, Error> {
    #[derive(Deserialize)]
    struct Info {
        sha: String,
        siblings: Vec<Sibling>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
    }

    let repo = repo(client, client.model.revision());
    let url = format!("{}/api/{}", client.options.endpoint, repo.api_url());
    let bytes = client.persist(|| {
        let (mut response, url) = client.ask(&url, Asked::Listing)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING);
        body.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                bad_answer(&url, format!("more than {MAX_LISTING} bytes")).into()
            }
            error => broken(&url, error),
        })
    })?;
    let Info { sha, siblings } = serde_json::from_slice(&bytes)
        .map_err(|error| bad_answer(&url, format!("not a model's description: {error}")))?;
    if !is_commit(&sha) {
        return Err(bad_answer(&url, format!("{sha:?} is not a commit")));
    }
    Ok(Listing {
        commit: sha,
        files: siblings.into_iter().map(|s| s.rfilename).collect(),
    })
}

/// A file as the hub has it.
pub(crate) struct RemoteFile {
    pub(crate) name: String,
    pub(crate) url: String,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

/// Asks for the size and the checksum of a file, whose name is plain.
pub(crate) fn file(client: &Client<'_>, commit: &str, name: &str) -> Result<RemoteFile, Error> {
    let repo = repo(client, commit);
    let (endpoint, id, commit) = (&client.options.endpoint, repo.url(), repo.url_revision());
    let url = format!("{endpoint}/{id}/resolve/{commit}/{name}");
    let (response, _) = client.persist(|| client.ask(&url, Asked::Metadata))?;
    // The length of a redirect is that of its own few words.
    let length = (response.status().is_success()).then_some(header::CONTENT_LENGTH);
    let [linked_etag, linked_size] =
        ["x-linked-etag", "x-linked-size"].map(HeaderName::from_static);
    let etag = header(&response, &linked_etag).or_else(|| header(&response, &header::ETAG));
    let checksum = etag.and_then(Checksum::from_etag).ok_or_else(|| {
        let found = etag.map_or("absent".to_owned(), |etag| format!("{etag:?}"));
        let problem = format!("the ETag is {found}, expected a sha256 or the id of a git blob");
        bad_answer(&url, problem)
    })?;
    let size = header(&response, &linked_size)
        .or_else(|| header(&response, length.as_ref()?))
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| bad_answer(&url, "no size in X-Linked-Size or Content-Length"))?;
    Ok(RemoteFile {
        name: name.to_owned(),
        url,
        size,
        checksum,
    })
}

fn repo(client: &Client<'_>, revision: &str) -> Repo {
    let id = client.model.id().to_owned();
    Repo::with_revision(id, RepoType::Model, revision.to_owned())
}
