//! Nothing: this package exists for its manifest, which `scripts/reference-suite` has cargo fetch.
