"""Tasks that need no data of one's own: rows made by reasoning-gym's generators, each with its own verifier.

    catalogue     which generators there are, their parameters, and which are left out and why: read, nothing imported
    generated     the file of the rows of a task, made once
    making        while it is made: how far it is, who waits for it
    child         the process that makes it
    entries       what a verifier needs of a row, as JSON
    verifier      how right an answer is, as the generator's own verifier says

The package takes seconds to import: only `child` and the process that judges answers do.
"""
