# The public headers for Doxygen: plain comments are their documentation.
1s,^// (.*),/// \\file\n/// \1,
s,^// -{10}.*,,
# Indented: code. Otherwise text.
s,^( *)//   ,\1///     ,
s,^( *)//( |$),\1///\2,
# Behind a member: of that member.
s,([;)\,]) +// ,\1  ///< ,
s,(\{|\}) +//.*,\1,
