"""Words by which a reading is certain or open: light ones, other quantities, transformations."""

from __future__ import annotations

import re

LIGHT = """
    a about above again against also although an and another approximately are around as at be
    been below both but by can clearly concretely consequently could do does down even exactly
    finally for from had has have he hence her here his how however i in indeed interestingly into
    is it its itself just less may might more much namely nearly not notably now of off on only
    onto or one our out over quite rather respectively roughly same she should since slightly so
    some still such surprisingly than that the their them then these they this those though thus
    to too up upon us versus vs was we were what whatever when where whereas which while who whose
    will with yet you your e g eg ie
    achieve amount arrive attain be bring came climb close come deliver end equal exhibit fall
    fell find finish found gave get give go got grew grow have hit hold keep kept land lie mark
    measure move note obtain observe place post produce put ran reach read record register remain
    report rest return rise rose run saw say score see seen settle show sit sat stand start stay
    stood take took want went work yield
    beat better decrease degrade drop exceed few great high improve increase large low outperform
    raise reduce shrink small surpass worse
    analysis appendix bar column curve configuration entry experiment fig figure main metric model
    nat new number outcome percent percentage point result row sec section table term unit value
    variant concern regard respect good hope well seed
"""
"""Function words; verbs by which a run has a value; directions; where a result stands."""
CHANGE = """
    absolute advantage apart between change cost delta differ difference distance factor fold gain
    gap improvement loss margin ratio reduction relative separate shift time
"""
"""Words that are light where a number is read as a change."""
LIGHT_WORDS, CHANGE_WORDS = frozenset(LIGHT.split()), frozenset(CHANGE.split())
OTHER_QUANTITY = re.compile(
    r"\b(?:seeds?|epochs?|steps?|averag\w*|avg|means?|median|max\w*|min\w*|rang\w*|span\w*|spread"
    r"|variation|deviat\w*|standard|std|sds?|sem?s?|cvs?|cis?|intervals?|p-values?|half\w*|halv\w+|mid(?:-?points?|way)|doubl\w+"
    r"|twice|thirds?|quarters?|sum|total\w*|combin\w*|pool\w*|overall|each|every|all|per"
    r"|except|exclud\w*|without|before|after|earlier|previous\w*|former|latter|initial\w*|first"
    r"|second|fourth|last|relative|ratio|factor|normali\w*|log|subset|split|held|valid\w*|layers?"
    r"|extrapolat\w*|interpolat\w*|would|if|al|there|elsewhere|originally|difference|gap|until"
    r"|prior|literature|respective|(?:lower|upper)\s+(?:end|bound|limit))\b"
    r"(?!-(?:based|guided|weighted|ranked|aware)\b)",
    re.I,
)
"""Words that make a number another quantity even from another part of its sentence."""
TRANSFORMED = re.compile(
    r"\bsubtract\w*|\b(?:re)?scal(?:ed|ing)\b|\bmultipl\w+|\bdivid\w+|\bcomplement\w*|\bin units of"
    r"|\bset to 1\b|(?:×|\bx|\*)\s?10|\binverse\w*|\bconvert\w*|\bexpress\w*",
    re.I,
)
"""Words that make other quantities of all numbers of a sentence."""
SEED_MEAN = re.compile(
    r"\b(?:averag\w+|means?)\s+(?:over|across|of)\s+(?:the\s+|all\s+|our\s+|\d+\s+)*seeds?\b"
    r"|\baverag(?:ed|es)\s+(?=\d)"
    r"|\b(?:over|across|with|from|in|for|on)\s+(?:the\s+|all\s+|our\s+|\d+\s+)*seeds?\b",
    re.I,
)
"""What every stored value is where there are seeds."""
AVERAGE_NAMED = re.compile(
    r"\b(?:average|mean)\s+(?!over|across|from|with|value|both|these|those|runs?\b)(?=[a-z]{4})",
    re.I,
)
"""An average that belongs to a measure's name: `average decoder weight correlation`."""
STATISTIC = re.compile(
    r"\b(?:correlations?|covariances?|entrop(?:y|ies)|kurtosis|skewness|perplexit(?:y|ies)"
    r"|redundancy|coherence|overlaps?)\b",
    re.I,
)
"""Quantities that no other name stands for."""
