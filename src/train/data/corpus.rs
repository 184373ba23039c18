//! The Large Movie Review Dataset: read from its folder or, as a stream, from its `.tar.gz`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::train::progress;

/// A review longer than this is no review; the longest of the public release has 14 kB.
const REVIEW_LIMIT_BYTES: u64 = 4 << 20;

/// Texts of a data set together; the public release has 130 MB.
const CORPUS_LIMIT_BYTES: u64 = 4 << 30;
/// Lines of a `urls_*.txt`; the public release has 50,000 in the longest.
const URLS_LIMIT: usize = 2_000_000;
/// Bytes of such a file.
const URLS_LIMIT_BYTES: u64 = 64 << 20;
/// A name within an archive, with what tar writes around it.
const NAME_LIMIT_BYTES: u64 = 64 << 10;

/// The first bytes of every gzip file (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Which of the release's folders a review comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// `neg`: four stars of ten or fewer.
    Negative,
    /// `pos`: seven stars of ten or more.
    Positive,
    /// `unsup`: any rating, not told.
    Unlabelled,
}

impl Class {
    fn from_folder(name: &str) -> Option<Self> {
        match name {
            "neg" => Some(Self::Negative),
            "pos" => Some(Self::Positive),
            "unsup" => Some(Self::Unlabelled),
            _ => None,
        }
    }

    /// The name of the class's folder in the release.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Negative => "neg",
            Self::Positive => "pos",
            Self::Unlabelled => "unsup",
        }
    }

    /// 1 for positive, 0 for negative, `None` where the release tells neither.
    pub fn target(self) -> Option<f32> {
        match self {
            Self::Negative => Some(0.0),
            Self::Positive => Some(1.0),
            Self::Unlabelled => None,
        }
    }
}

/// One review of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The folder it comes from.
    pub class: Class,
    /// Its number within the folder.
    pub id: u32,
    /// Stars that its author gave, 1 to 10; 0 where the release does not tell.
    pub rating: u8,
    /// The film's number on IMDB (`tt0453418` is 453418), from `urls_*.txt`; `None` without that file.
    pub film: Option<u32>,
    /// The text, HTML line breaks and all.
    pub text: String,
}

/// The reviews of a data set, each list sorted by class and id, whatever order the archive or the disk has them in.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    /// Labelled reviews of `train/`: negative, then positive.
    pub train: Vec<Review>,
    /// Reviews of `train/unsup/`; empty unless asked for.
    pub unlabelled: Vec<Review>,
    /// Labelled reviews of `test/`; empty where the data set has no such half.
    pub test: Vec<Review>,
}

impl Corpus {
    /// Reads the release at `path`: its folder, or its `.tar.gz`, of which nothing is unpacked to disk. The
    /// unlabelled reviews are kept only with `unlabelled`.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses; [`Error::Invalid`] naming the file and the fault: a truncated or
    /// damaged archive, a text that is not UTF-8 or empty, a file name that is not `ID_RATING.txt`, an id that
    /// stands twice or has no line in `urls_*.txt`, no `train/pos` and `train/neg`.
    pub fn read(path: &Path, unlabelled: bool) -> Result<Self> {
        let mut reader = Reader { unlabelled, ..Reader::default() };
        if path.is_dir() {
            reader.read_folder(path)?;
        } else {
            reader.read_archive(path)?;
        }
        reader.finish(path)
    }
}

/// The half of the release that a file lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Train,
    Test,
}

/// What a path within the release says a file is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Review { half: Half, class: Class, id: u32, rating: u8 },
    Urls { half: Half, class: Class },
    Other,
}

impl Kind {
    /// Reads the last three parts of `path`; the reason in words where it lies among reviews but is none.
    fn of(path: &str) -> Result<Self, String> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let name = *parts.last().unwrap_or(&"");
        let half = |name: &str| match name {
            "train" => Some(Half::Train),
            "test" => Some(Half::Test),
            _ => None,
        };
        let above = |steps: usize| parts.len().checked_sub(1 + steps).map(|at| parts[at]);
        if name.starts_with('.') {
            return Ok(Self::Other);
        }
        if let (Some(class), Some(half)) = (above(1).and_then(Class::from_folder), above(2).and_then(half)) {
            let numbers = name.strip_suffix(".txt").and_then(|stem| stem.split_once('_'));
            let parsed = numbers.and_then(|(id, rating)| Some((id.parse().ok()?, rating.parse().ok()?)));
            return match parsed {
                Some((id, rating @ 0..=10)) => Ok(Self::Review { half, class, id, rating }),
                _ => Err("expected a review's name, ID_RATING.txt".into()),
            };
        }
        let class = name.strip_prefix("urls_").and_then(|name| name.strip_suffix(".txt"));
        if let (Some(class), Some(half)) = (class.and_then(Class::from_folder), above(1).and_then(half)) {
            return Ok(Self::Urls { half, class });
        }
        Ok(Self::Other)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    unlabelled: bool,
    /// Bytes of the reviews so far.
    bytes: u64,
    reviews: BTreeMap<(Half, Class, u32), Review>,
    films: BTreeMap<(Half, Class), Vec<Option<u32>>>,
}

impl Reader {
    fn read_folder(&mut self, root: &Path) -> Result<()> {
        // The release's own root is `aclImdb`; the folder it was unpacked into does as well.
        let inner = root.join("aclImdb");
        let root = if !root.join("train").is_dir() && inner.is_dir() { inner } else { root.to_path_buf() };
        let bar = progress::spinner("reading");
        for half in ["train", "test"] {
            for folder in ["", "neg", "pos", "unsup"] {
                let directory = root.join(half).join(folder);
                if !directory.is_dir() || (folder == "unsup" && !self.unlabelled) {
                    continue;
                }
                for entry in fs::read_dir(&directory).map_err(Error::io(&directory))? {
                    let path = entry.map_err(Error::io(&directory))?.path();
                    if path.is_file() {
                        let size = path.metadata().map_err(Error::io(&path))?.len();
                        let mut file = File::open(&path).map_err(Error::io(&path))?;
                        self.add(&path, &path.to_string_lossy().replace('\\', "/"), size, &mut file)?;
                        bar.inc(1);
                    }
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn read_archive(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        if size == 0 {
            return Err(Error::invalid(path, "the archive is empty"));
        }
        // The decoder calls a file shorter than a header cut off, whatever it holds.
        let mut magic = Vec::new();
        file.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic).map_err(Error::io(path))?;
        if !GZIP_MAGIC.starts_with(&magic) {
            return Err(Error::invalid(path, "neither a folder nor a .tar.gz: it is no gzip archive"));
        }
        file.rewind().map_err(Error::io(path))?;
        let damaged = |e: io::Error| {
            let reason = match e.kind() {
                io::ErrorKind::UnexpectedEof => "the archive is cut off".to_string(),
                _ => format!("the archive is damaged: {e}"),
            };
            Error::invalid(path, reason)
        };
        let bar = progress::bytes(size, "reading");
        let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::new(bar.wrap_read(file))));
        // Raw: the tar reader would take a long name into memory whatever its length.
        let mut long_name = None;
        for entry in archive.entries().map_err(damaged)?.raw(true) {
            let mut entry = entry.map_err(damaged)?;
            let (kind, size) = (entry.header().entry_type(), entry.size());
            if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
                if size > NAME_LIMIT_BYTES {
                    return Err(Error::invalid(path, format!("an entry whose name takes {size} bytes")));
                }
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                long_name = if kind.is_gnu_longname() { Some(bytes) } else { pax_path(&bytes).or(long_name) };
                continue;
            }
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            if !kind.is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_string();
            let shown = path.join(name.chars().take(200).collect::<String>().escape_debug().to_string());
            self.add(&shown, &name, size, &mut entry).map_err(|e| match e {
                Error::Io { source, .. } => damaged(source),
                other => other,
            })?;
        }
        // The checksum stands behind the last entry: without reading to the end, a cut there would pass.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Takes in one file of the release; `shown` names it in errors.
    fn add(&mut self, shown: &Path, name: &str, size: u64, content: &mut impl Read) -> Result<()> {
        let read = |content: &mut dyn Read| -> Result<String> {
            if size > URLS_LIMIT_BYTES {
                return Err(Error::invalid(shown, format!("{size} bytes, too large for this data set")));
            }
            let mut bytes = Vec::with_capacity(size as usize);
            content.read_to_end(&mut bytes).map_err(Error::io(shown))?;
            if bytes.len() as u64 != size {
                return Err(Error::io(shown)(io::ErrorKind::UnexpectedEof.into()));
            }
            String::from_utf8(bytes).map_err(|e| {
                Error::invalid(shown, format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to()))
            })
        };
        match Kind::of(name).map_err(|reason| Error::invalid(shown, reason))? {
            Kind::Review { class: Class::Unlabelled, .. } if !self.unlabelled => {}
            Kind::Review { half, class, id, rating } => {
                if size > REVIEW_LIMIT_BYTES {
                    return Err(Error::invalid(shown, format!("{size} bytes, too long for a review")));
                }
                let text = read(content)?;
                if text.trim().is_empty() {
                    return Err(Error::invalid(shown, "the review is empty"));
                }
                self.bytes += text.len() as u64;
                if self.bytes > CORPUS_LIMIT_BYTES {
                    let reason = format!("more than {CORPUS_LIMIT_BYTES} bytes of reviews before it");
                    return Err(Error::invalid(shown, reason));
                }
                let review = Review { class, id, rating, film: None, text };
                if self.reviews.insert((half, class, id), review).is_some() {
                    return Err(Error::invalid(shown, format!("review {id} stands twice")));
                }
            }
            Kind::Urls { half, class } => {
                let text = read(content)?;
                // A line of one byte becomes eight.
                let films: Vec<_> = text.lines().take(URLS_LIMIT + 1).map(film_of_url).collect();
                if films.len() > URLS_LIMIT {
                    let reason = format!("more than {URLS_LIMIT} lines");
                    return Err(Error::invalid(shown, reason));
                }
                self.films.insert((half, class), films);
            }
            Kind::Other => {}
        }
        Ok(())
    }

    /// Gives every review its film and sorts the reviews into lists.
    fn finish(self, path: &Path) -> Result<Corpus> {
        let mut corpus = Corpus::default();
        for ((half, class, id), mut review) in self.reviews {
            if let Some(films) = self.films.get(&(half, class)) {
                let Some(film) = films.get(id as usize) else {
                    let reason = format!(
                        "urls_{}.txt has {} lines, none for review {id}",
                        class.folder(),
                        films.len()
                    );
                    return Err(Error::invalid(path, reason));
                };
                review.film = *film;
            }
            match (half, class) {
                (Half::Train, Class::Unlabelled) => corpus.unlabelled.push(review),
                (Half::Train, _) => corpus.train.push(review),
                (Half::Test, Class::Unlabelled) => {}
                (Half::Test, _) => corpus.test.push(review),
            }
        }
        for class in [Class::Negative, Class::Positive] {
            if !corpus.train.iter().any(|review| review.class == class) {
                let reason = format!("no review in a folder train/{}", class.folder());
                return Err(Error::invalid(path, reason));
            }
        }
        Ok(corpus)
    }
}

/// The number in an address such as `http://www.imdb.com/title/tt0453418/usercomments`.
fn film_of_url(url: &str) -> Option<u32> {
    let digits = url.split("/title/tt").nth(1)?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// The name that a PAX extended header gives the next entry (records `LENGTH KEY=VALUE\n`).
fn pax_path(mut records: &[u8]) -> Option<Vec<u8>> {
    let mut path = None;
    while let Some(space) = records.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        path = record.strip_prefix(b"path=").map(<[u8]>::to_vec).or(path);
        records = &records[length..];
    }
    path
}
