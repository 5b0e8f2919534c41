//! Where to download from and to, and how patiently.

use crate::Error;
use crate::client::Origin;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs, io};

/// The hub of Hugging Face itself.
const ENDPOINT: &str = "https://huggingface.co";

/// How to pull.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The hub: `http://` or `https://`, a host, and a path if it has one. No slash at the end.
    pub endpoint: String,
    /// The cache, whose folders are models.
    pub cache: PathBuf,
    /// What the hub knows the caller by. Sent to the endpoint's scheme, host and port alone.
    pub token: Option<String>,
    /// Ask no hub: what is in the cache has to do.
    pub offline: bool,
    /// The longest wait for a connection, for an answer to begin, and for its next bytes.
    pub timeout: Duration,
    /// How often in a row a request is tried again that failed in a way that may pass.
    pub retries: u32,
    /// The wait before the first of them; each other is twice as long.
    pub backoff: Duration,
    /// The longest wait for another process that downloads the same file and makes no progress.
    pub lock_timeout: Duration,
}

impl Options {
    /// Everything by default, with this cache and without a token.
    pub fn new(cache: impl Into<PathBuf>) -> Options {
        Options {
            endpoint: ENDPOINT.to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            timeout: Duration::from_secs(30),
            retries: 4,
            backoff: Duration::from_millis(500),
            lock_timeout: Duration::from_secs(600),
        }
    }

    /// What the environment says, read by `lookup`, with the meaning that `huggingface_hub` gives it:
    ///
    /// | variable | says |
    /// |---|---|
    /// | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | the cache |
    /// | `HF_HOME` | the folder of the cache (`hub`) and of the token |
    /// | `XDG_CACHE_HOME` | the folder of `huggingface`, which is the home if `HF_HOME` is unset; else `~/.cache` |
    /// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | the token |
    /// | `HF_TOKEN_PATH` | the file of the token, if the variable is unset; else `token` in the home |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | none of these tokens is sent |
    /// | `HF_ENDPOINT` | the hub |
    /// | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | `1`, `true`, `yes` or `on`: offline |
    /// | `HF_HUB_DOWNLOAD_TIMEOUT` | the timeout, in seconds |
    ///
    /// An empty variable is an unset one.
    ///
    /// # Errors
    /// [`Error::Setting`] where a value cannot be used, [`Error::Io`] where the file of the token
    /// cannot be read.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Options, Error> {
        let environment = Environment { lookup };
        let home = environment.home()?;
        let cache = match environment.path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]) {
            Some(cache) => cache,
            None => home.join("hub"),
        };
        let mut options = Options::new(cache);
        options.token = environment.token(&home)?;
        options.offline = environment.flag(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]);
        if let Some(endpoint) = environment.text("HF_ENDPOINT")? {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
            if Origin::of(&options.endpoint).is_none() {
                return Err(Error::Setting {
                    name: "HF_ENDPOINT",
                    problem: format!("{endpoint:?}, expected an address such as {ENDPOINT}"),
                });
            }
        }
        if let Some(seconds) = environment.text("HF_HUB_DOWNLOAD_TIMEOUT")? {
            let timeout = seconds.parse().ok().filter(|s| *s > 0);
            options.timeout = timeout
                .map(Duration::from_secs)
                .ok_or_else(|| Error::Setting {
                    name: "HF_HUB_DOWNLOAD_TIMEOUT",
                    problem: format!("{seconds:?}, expected a number of seconds"),
                })?;
        }
        Ok(options)
    }
}

impl fmt::Debug for Options {
    /// All but the token, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

struct Environment<F> {
    lookup: F,
}

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        let text = self.get(name).map(OsString::into_string).transpose();
        text.map_err(|_| Error::Setting {
            name,
            problem: "not UTF-8, expected text".to_owned(),
        })
    }

    fn flag(&self, names: &[&str]) -> bool {
        let value = names.iter().find_map(|name| self.get(name));
        let value = value.map(|v| v.to_string_lossy().to_lowercase());
        value.is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.as_str()))
    }

    fn user_home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from).or_else(env::home_dir)
    }

    /// The path that the first variable set names; `~` at its beginning is the user's home.
    fn path(&self, names: &[&str]) -> Option<PathBuf> {
        let path = PathBuf::from(names.iter().find_map(|name| self.get(name))?);
        match path.strip_prefix("~") {
            Ok(rest) => Some(self.user_home()?.join(rest)),
            Err(_) => Some(path),
        }
    }

    fn home(&self) -> Result<PathBuf, Error> {
        let home = self.path(&["HF_HOME"]).or_else(|| {
            let caches = self.path(&["XDG_CACHE_HOME"]);
            let caches = caches.or_else(|| Some(self.user_home()?.join(".cache")));
            caches.map(|caches| caches.join("huggingface"))
        });
        home.ok_or_else(|| Error::Setting {
            name: "HF_HOME",
            problem: "unset and the user has no home, expected a folder for the cache".to_owned(),
        })
    }

    fn token(&self, home: &Path) -> Result<Option<String>, Error> {
        if self.flag(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) {
            return Ok(None);
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(token) = self.text(name)?
                && let Some(token) = clean(name, &token)?
            {
                return Ok(Some(token));
            }
        }
        let name = "HF_TOKEN_PATH";
        let path = self.path(&[name]).unwrap_or_else(|| home.join("token"));
        match fs::read_to_string(&path) {
            Ok(token) => clean(name, &token),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&path, "read")(e)),
        }
    }
}

/// The token without the white space around it, if it can go into a header.
fn clean(name: &'static str, token: &str) -> Result<Option<String>, Error> {
    let token = token.trim();
    match token.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok((!token.is_empty()).then(|| token.to_owned())),
        false => Err(Error::Setting {
            name,
            problem: "not a token: it has characters other than letters, digits and signs"
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Options, Error> {
        Options::from_env(|name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        for (variables, cache) in [
            (&[("HOME", "/u")][..], "/u/.cache/huggingface/hub"),
            (
                &[("HOME", "/u"), ("HF_HOME", "")],
                "/u/.cache/huggingface/hub",
            ),
            (
                &[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")],
                "/x/huggingface/hub",
            ),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HOME", "/u"), ("HF_HOME", "~/h")], "/u/h/hub"),
            (
                &[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/old",
            ),
            (
                &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/c")],
                "/c",
            ),
        ] {
            let options = read(variables).unwrap();
            assert_eq!(options.cache, Path::new(cache), "{variables:?}");
            assert_eq!(options.endpoint, ENDPOINT);
            assert!(!options.offline && options.token.is_none());
        }
    }

    #[test]
    fn the_token_is_a_variable_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let other = dir.path().join("other");
        fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        fs::write(&other, " hf_other ").unwrap();
        let other = other.to_str().unwrap();
        let token = |more: &[(&str, &str)]| {
            let variables = [&[("HF_HOME", home)], more].concat();
            read(&variables).unwrap().token
        };
        assert_eq!(token(&[]).as_deref(), Some("hf_file"));
        assert_eq!(
            token(&[("HF_TOKEN_PATH", other)]).as_deref(),
            Some("hf_other")
        );
        assert_eq!(token(&[("HF_TOKEN_PATH", "/no/such/file")]), None);
        assert_eq!(token(&[("HF_TOKEN", "hf_x\n")]).as_deref(), Some("hf_x"));
        assert_eq!(token(&[("HF_TOKEN", " ")]).as_deref(), Some("hf_file"));
        let old = ("HUGGING_FACE_HUB_TOKEN", "hf_old");
        assert_eq!(token(&[old]).as_deref(), Some("hf_old"));
        assert_eq!(token(&[old, ("HF_TOKEN", "hf_x")]).as_deref(), Some("hf_x"));
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"), old]), None);
    }

    #[test]
    fn flags_and_addresses_are_read() {
        for (value, offline) in [
            ("1", true),
            ("TRUE", true),
            ("on", true),
            ("0", false),
            ("", false),
        ] {
            let options = read(&[("HOME", "/u"), ("HF_HUB_OFFLINE", value)]).unwrap();
            assert_eq!(options.offline, offline, "{value:?}");
        }
        assert!(
            read(&[("HOME", "/u"), ("TRANSFORMERS_OFFLINE", "yes")])
                .unwrap()
                .offline
        );
        let options = read(&[
            ("HOME", "/u"),
            ("HF_ENDPOINT", "http://mirror:8080/hf/"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "7"),
        ])
        .unwrap();
        assert_eq!(options.endpoint, "http://mirror:8080/hf");
        assert_eq!(options.timeout, Duration::from_secs(7));
    }

    #[test]
    fn values_that_cannot_be_used_are_named_and_tokens_are_not() {
        for (name, value) in [
            ("HF_ENDPOINT", "huggingface.co"),
            ("HF_ENDPOINT", "ftp://huggingface.co"),
            ("HF_ENDPOINT", "https://"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "0"),
            ("HF_TOKEN", "secret\nsecret"),
            ("HF_TOKEN", "sécret"),
        ] {
            let error = read(&[("HOME", "/u"), (name, value)])
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains("cret"), "{error}");
        }
        let mut options = Options::new("/c");
        options.token = Some("hf_secret".to_owned());
        assert!(!format!("{options:?}").contains("secret"));
    }
}
