def until_score(quick, say):
    return []
