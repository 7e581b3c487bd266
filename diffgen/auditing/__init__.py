"""One call, one report: a denoiser and its data in, verdicts and pages out."""
