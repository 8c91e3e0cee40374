"""What would make a run wait less for its data."""

from expkit.data.cache import Kind

WORTH_SAYING = 0.1  # share of the time


def waiting_advice(num_workers: int, cores: int, cache: Kind, could_decode_region: bool) -> str:
    """Return what to change, the most helpful first, for a run that waits for images."""
    advice = []
    if num_workers < cores:
        advice.append(f"dataset.num_workers={cores} uses every core")
    if cache == "none":
        advice.append("dataset.cache=memory (or disk) decodes each image once")
        if could_decode_region:
            advice.append("dataset.decoder=region decodes only what a random crop keeps")
    return "try: " + "; ".join(advice) if advice else "smaller or fewer transforms, or more cores, would help"
