"""Where finished MP4s are kept: a local volume or any place that fsspec reaches. Used by API and worker alike."""
